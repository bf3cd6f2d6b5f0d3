//! SCRAM credentials: AlterUserScramCredentials decides, DescribeUserScramCredentials reads.
//!
//! Pure; see `mod.rs`. Of a salted password only the two keys are kept that check it (RFC 5802).
//! Source: KIP-554; Kafka 4.3.1, asked.

use std::collections::BTreeMap;

use hmac::{Hmac, Mac};
use protocol::ErrorCode;
use protocol::messages::alter_user_scram_credentials::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
    AlterUserScramCredentialsResult, ScramCredentialUpsertion,
};
use protocol::messages::describe_user_scram_credentials::{
    CredentialInfo, DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult,
};
use sha2::{Digest, Sha256, Sha512};

use super::limits::{CONFIG_NAME_BYTES_MAX, SCRAM_CREDENTIALS_MAX};
use super::{Decision, Refusal};
use crate::image::record::ScramRecord;
use crate::image::{Image, MetadataRecord, ScramMechanism};

const ITERATIONS_MIN: i32 = 4096;
const ITERATIONS_MAX: i32 = 16384;
/// Salts and salted passwords of every client are far shorter.
const SECRET_BYTES_MAX: usize = 1024;

/// Decides an AlterUserScramCredentials request. Each user is decided by himself.
pub fn decide_alter_scram(
    image: &Image,
    request: &AlterUserScramCredentialsRequest,
) -> Decision<AlterUserScramCredentialsResponse> {
    let mut users: BTreeMap<&str, Result<ScramRecord, Refusal>> = BTreeMap::new();
    let deletions = request.deletions.iter().map(|one| {
        let decided = mechanism(&one.name, one.mechanism).and_then(|mechanism| {
            if !image.scram().contains_key(&(one.name.clone(), mechanism)) {
                let why = "Attempt to delete a user credential that does not exist";
                return Err(Refusal::new(ErrorCode::ResourceNotFound, why));
            }
            let user = one.name.clone();
            Ok(ScramRecord { user, mechanism: mechanism.to_wire(), ..ScramRecord::default() })
        });
        (one.name.as_str(), decided)
    });
    let upsertions = request.upsertions.iter().map(|one| (one.name.as_str(), upsert(image, one)));
    for (user, decided) in deletions.chain(upsertions) {
        let twice = || {
            let why = "A user credential cannot be altered twice in the same request";
            Refusal::new(ErrorCode::DuplicateResource, why)
        };
        match users.get_mut(user) {
            None => drop(users.insert(user, decided)),
            Some(before @ Ok(_)) => *before = decided.and_then(|_| Err(twice())),
            Some(Err(_)) => {}
        }
    }
    let mut records = Vec::new();
    let mut results = Vec::new();
    for (user, decided) in users {
        let refusal = match decided {
            Ok(record) => {
                records.push(MetadataRecord::Scram(record));
                Refusal::bare(ErrorCode::None)
            }
            Err(refusal) => refusal,
        };
        results.push(AlterUserScramCredentialsResult {
            user: user.to_owned(),
            error_code: refusal.code as i16,
            error_message: refusal.message,
        });
    }
    let response = AlterUserScramCredentialsResponse { throttle_time_ms: 0, results };
    Decision { records, response }
}

fn mechanism(user: &str, number: i8) -> Result<ScramMechanism, Refusal> {
    if user.is_empty() {
        let why = "Username must not be empty";
        return Err(Refusal::new(ErrorCode::UnacceptableCredential, why));
    }
    ScramMechanism::from_wire(number)
        .ok_or_else(|| Refusal::new(ErrorCode::UnsupportedSaslMechanism, "Unknown SCRAM mechanism"))
}

fn upsert(image: &Image, wanted: &ScramCredentialUpsertion) -> Result<ScramRecord, Refusal> {
    let mechanism = mechanism(&wanted.name, wanted.mechanism)?;
    let unacceptable = |why: &str| Err(Refusal::new(ErrorCode::UnacceptableCredential, why));
    if wanted.iterations < ITERATIONS_MIN {
        return unacceptable("Too few iterations");
    }
    if wanted.iterations > ITERATIONS_MAX {
        return unacceptable("Too many iterations");
    }
    if wanted.salted_password.is_empty() {
        // Kafka answers -1 here.
        return unacceptable("The salted password is empty");
    }
    let long = wanted.salted_password.len().max(wanted.salt.len()) > SECRET_BYTES_MAX;
    if long || wanted.name.len() > CONFIG_NAME_BYTES_MAX {
        return unacceptable("The name, the salt or the salted password is too long");
    }
    let known = image.scram().contains_key(&(wanted.name.clone(), mechanism));
    if !known && image.scram().len() >= SCRAM_CREDENTIALS_MAX {
        let why = "The cluster has as many credentials as it can hold.";
        return Err(Refusal::new(ErrorCode::PolicyViolation, why));
    }
    let password = &wanted.salted_password[..];
    let (stored_key, server_key) = match mechanism {
        ScramMechanism::Sha256 => (
            Sha256::digest(sign_256(password, b"Client Key")).to_vec(),
            sign_256(password, b"Server Key"),
        ),
        ScramMechanism::Sha512 => (
            Sha512::digest(sign_512(password, b"Client Key")).to_vec(),
            sign_512(password, b"Server Key"),
        ),
    };
    Ok(ScramRecord {
        user: wanted.name.clone(),
        mechanism: mechanism.to_wire(),
        iterations: wanted.iterations,
        salt: wanted.salt.clone(),
        stored_key: stored_key.into(),
        server_key: server_key.into(),
    })
}

fn sign_256(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn sign_512(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha512>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// Answers DescribeUserScramCredentials. No users, or null: all.
pub fn describe_scram(
    image: &Image,
    request: &DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
    for user in request.users.iter().flatten() {
        *wanted.entry(&user.name).or_default() += 1;
    }
    if wanted.is_empty() {
        wanted.extend(image.scram().keys().map(|(user, _)| (user.as_str(), 1)));
    }
    let results = wanted.into_iter().map(|(user, times)| {
        let infos: Vec<CredentialInfo> = [ScramMechanism::Sha256, ScramMechanism::Sha512]
            .into_iter()
            .filter_map(|mechanism| {
                let credential = image.scram().get(&(user.to_owned(), mechanism))?;
                let (mechanism, iterations) = (mechanism.to_wire(), credential.iterations);
                Some(CredentialInfo { mechanism, iterations })
            })
            .collect();
        let refusal = if times > 1 {
            let why = "Cannot describe SCRAM credentials for the same user twice in a single \
                       request: ";
            Refusal::new(ErrorCode::DuplicateResource, format!("{why}{user}"))
        } else if infos.is_empty() {
            let why = "Attempt to describe a user credential that does not exist: ";
            Refusal::new(ErrorCode::ResourceNotFound, format!("{why}{user}"))
        } else {
            Refusal::new(ErrorCode::None, "")
        };
        DescribeUserScramCredentialsResult {
            user: user.to_owned(),
            error_code: refusal.code as i16,
            credential_infos: if refusal.code == ErrorCode::None { infos } else { Vec::new() },
            error_message: refusal.message,
        }
    });
    DescribeUserScramCredentialsResponse {
        throttle_time_ms: 0,
        error_code: 0,
        error_message: Some(String::new()),
        results: results.collect(),
    }
}
