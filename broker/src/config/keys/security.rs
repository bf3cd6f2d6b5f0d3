//! Broker keys of authentication, encryption and authorization.
//!
//! A table, read by `config::registry`. Names, types, ranges and defaults are Kafka 4.3.1's; where
//! a default differs, `docs/configuration.md` says so.

use crate::config::key::Check::{AtLeast, Between, OneOf, OneOfIgnoringCase};
use crate::config::key::{Key, boolean, class, double, int, list, long, password, short, text};
use crate::config::reason::{NO_JVM, PLAINTEXT_ONLY};

/// See the module.
pub static KEYS: &[Key] = &[
    text("authorizer.class.name", "Class that decides who may do what; empty means everybody may.")
        .or("")
        .ignored(PLAINTEXT_ONLY),
    int(
        "connection.failed.authentication.delay.ms",
        "Delay before a connection that failed authentication is closed.",
    )
    .or("100")
    .check(AtLeast(0))
    .ignored(PLAINTEXT_ONLY),
    long(
        "connections.max.reauth.ms",
        "Longest life of an authenticated session before it must authenticate again.",
    )
    .or("0")
    .ignored(PLAINTEXT_ONLY),
    long(
        "delegation.token.expiry.check.interval.ms",
        "Time between sweeps of expired delegation tokens.",
    )
    .or("3600000")
    .check(AtLeast(1))
    .ignored(PLAINTEXT_ONLY),
    long(
        "delegation.token.expiry.time.ms",
        "Life of a delegation token before it must be renewed.",
    )
    .or("86400000")
    .check(AtLeast(1))
    .ignored(PLAINTEXT_ONLY),
    long(
        "delegation.token.max.lifetime.ms",
        "Longest life of a delegation token, renewals included.",
    )
    .or("604800000")
    .check(AtLeast(1))
    .ignored(PLAINTEXT_ONLY),
    password("delegation.token.secret.key", "Secret that signs delegation tokens.")
        .ignored(PLAINTEXT_ONLY),
    class("principal.builder.class", "Java class that names a connection's user.")
        .or("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder")
        .per_broker()
        .ignored(NO_JVM),
    class("sasl.client.callback.handler.class", "Class that answers a SASL client's questions.")
        .ignored(PLAINTEXT_ONLY),
    list("sasl.enabled.mechanisms", "SASL mechanisms offered to clients.")
        .or("GSSAPI")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    password("sasl.jaas.config", "Login of a SASL listener.").per_broker().ignored(PLAINTEXT_ONLY),
    text("sasl.kerberos.kinit.cmd", "Command that fetches Kerberos tickets.")
        .or("/usr/bin/kinit")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    long("sasl.kerberos.min.time.before.relogin", "Shortest time between Kerberos logins.")
        .or("60000")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    list("sasl.kerberos.principal.to.local.rules", "Rules that shorten Kerberos names.")
        .or("DEFAULT")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    text("sasl.kerberos.service.name", "Kerberos name of the service.")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    double(
        "sasl.kerberos.ticket.renew.jitter",
        "Random share of a Kerberos ticket's renewal time.",
    )
    .or("0.05")
    .per_broker()
    .ignored(PLAINTEXT_ONLY),
    double(
        "sasl.kerberos.ticket.renew.window.factor",
        "Share of a ticket's life after which it is renewed.",
    )
    .or("0.8")
    .per_broker()
    .ignored(PLAINTEXT_ONLY),
    class("sasl.login.callback.handler.class", "Class that answers a login's questions.")
        .ignored(PLAINTEXT_ONLY),
    class("sasl.login.class", "Class that logs in.").ignored(PLAINTEXT_ONLY),
    int("sasl.login.connect.timeout.ms", "Time a login's connection may take.")
        .ignored(PLAINTEXT_ONLY),
    int("sasl.login.read.timeout.ms", "Time a login's answer may take.").ignored(PLAINTEXT_ONLY),
    short(
        "sasl.login.refresh.buffer.seconds",
        "Time left of a credential when its refresh must be done.",
    )
    .or("300")
    .per_broker()
    .ignored(PLAINTEXT_ONLY),
    short(
        "sasl.login.refresh.min.period.seconds",
        "Shortest time between refreshes of a credential.",
    )
    .or("60")
    .per_broker()
    .ignored(PLAINTEXT_ONLY),
    double(
        "sasl.login.refresh.window.factor",
        "Share of a credential's life after which it is refreshed.",
    )
    .or("0.8")
    .per_broker()
    .ignored(PLAINTEXT_ONLY),
    double("sasl.login.refresh.window.jitter", "Random share of a credential's refresh time.")
        .or("0.05")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    long("sasl.login.retry.backoff.max.ms", "Longest wait before a login is tried again.")
        .or("10000")
        .ignored(PLAINTEXT_ONLY),
    long("sasl.login.retry.backoff.ms", "First wait before a login is tried again.")
        .or("100")
        .ignored(PLAINTEXT_ONLY),
    text("sasl.mechanism.controller.protocol", "SASL mechanism towards controllers.")
        .or("GSSAPI")
        .ignored(PLAINTEXT_ONLY),
    text("sasl.mechanism.inter.broker.protocol", "SASL mechanism between brokers.")
        .or("GSSAPI")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    text("sasl.oauthbearer.assertion.algorithm", "Algorithm that signs OAuth assertions.")
        .or("RS256")
        .check(OneOfIgnoringCase(&["ES256", "RS256"]))
        .ignored(PLAINTEXT_ONLY),
    text("sasl.oauthbearer.assertion.claim.aud", "Audience of OAuth assertions.")
        .ignored(PLAINTEXT_ONLY),
    int("sasl.oauthbearer.assertion.claim.exp.seconds", "Life of OAuth assertions.")
        .or("300")
        .check(Between(0, 86400))
        .ignored(PLAINTEXT_ONLY),
    text("sasl.oauthbearer.assertion.claim.iss", "Issuer of OAuth assertions.")
        .ignored(PLAINTEXT_ONLY),
    boolean(
        "sasl.oauthbearer.assertion.claim.jti.include",
        "Whether OAuth assertions carry an id.",
    )
    .or("false")
    .ignored(PLAINTEXT_ONLY),
    int("sasl.oauthbearer.assertion.claim.nbf.seconds", "How far back OAuth assertions are valid.")
        .or("60")
        .check(Between(0, 3600))
        .ignored(PLAINTEXT_ONLY),
    text("sasl.oauthbearer.assertion.claim.sub", "Subject of OAuth assertions.")
        .ignored(PLAINTEXT_ONLY),
    text("sasl.oauthbearer.assertion.file", "File that holds a ready OAuth assertion.")
        .ignored(PLAINTEXT_ONLY),
    text(
        "sasl.oauthbearer.assertion.private.key.file",
        "File of the key that signs OAuth assertions.",
    )
    .ignored(PLAINTEXT_ONLY),
    password("sasl.oauthbearer.assertion.private.key.passphrase", "Passphrase of that key.")
        .ignored(PLAINTEXT_ONLY),
    text("sasl.oauthbearer.assertion.template.file", "File of a template for OAuth assertions.")
        .ignored(PLAINTEXT_ONLY),
    text(
        "sasl.oauthbearer.client.credentials.client.id",
        "Client id of the OAuth client-credentials grant.",
    )
    .ignored(PLAINTEXT_ONLY),
    password(
        "sasl.oauthbearer.client.credentials.client.secret",
        "Client secret of the OAuth client-credentials grant.",
    )
    .ignored(PLAINTEXT_ONLY),
    int("sasl.oauthbearer.clock.skew.seconds", "Clock difference tolerated in OAuth tokens.")
        .or("30")
        .ignored(PLAINTEXT_ONLY),
    list("sasl.oauthbearer.expected.audience", "Audiences accepted in OAuth tokens.")
        .or("")
        .ignored(PLAINTEXT_ONLY),
    text("sasl.oauthbearer.expected.issuer", "Issuer accepted in OAuth tokens.")
        .ignored(PLAINTEXT_ONLY),
    long(
        "sasl.oauthbearer.jwks.endpoint.refresh.ms",
        "Time between refreshes of the OAuth provider's keys.",
    )
    .or("3600000")
    .ignored(PLAINTEXT_ONLY),
    long(
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
        "Longest wait before the provider's keys are asked for again.",
    )
    .or("10000")
    .ignored(PLAINTEXT_ONLY),
    long(
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms",
        "First wait before the provider's keys are asked for again.",
    )
    .or("100")
    .ignored(PLAINTEXT_ONLY),
    text("sasl.oauthbearer.jwks.endpoint.url", "Address of the OAuth provider's keys.")
        .ignored(PLAINTEXT_ONLY),
    class("sasl.oauthbearer.jwt.retriever.class", "Class that fetches OAuth tokens.")
        .or("org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever")
        .ignored(PLAINTEXT_ONLY),
    class("sasl.oauthbearer.jwt.validator.class", "Class that checks OAuth tokens.")
        .or("org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator")
        .ignored(PLAINTEXT_ONLY),
    text("sasl.oauthbearer.scope", "Scope asked for in OAuth.").ignored(PLAINTEXT_ONLY),
    text("sasl.oauthbearer.scope.claim.name", "Claim that holds the scope.")
        .or("scope")
        .ignored(PLAINTEXT_ONLY),
    text("sasl.oauthbearer.sub.claim.name", "Claim that holds the subject.")
        .or("sub")
        .ignored(PLAINTEXT_ONLY),
    text("sasl.oauthbearer.token.endpoint.url", "Address that issues OAuth tokens.")
        .ignored(PLAINTEXT_ONLY),
    class("sasl.server.callback.handler.class", "Class that answers a SASL server's questions.")
        .ignored(PLAINTEXT_ONLY),
    int("sasl.server.max.receive.size", "Largest SASL message taken.")
        .or("524288")
        .ignored(PLAINTEXT_ONLY),
    text("security.inter.broker.protocol", "Security protocol between brokers.")
        .or("PLAINTEXT")
        .check(OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]))
        .ignored(PLAINTEXT_ONLY),
    text("security.providers", "Java security providers.").ignored(NO_JVM),
    boolean("ssl.allow.dn.changes", "Whether a new certificate may carry another name.")
        .or("false")
        .ignored(PLAINTEXT_ONLY),
    boolean("ssl.allow.san.changes", "Whether a new certificate may drop alternative names.")
        .or("false")
        .ignored(PLAINTEXT_ONLY),
    list("ssl.cipher.suites", "TLS cipher suites allowed.")
        .or("")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    text("ssl.client.auth", "Whether clients must show a certificate.")
        .or("none")
        .check(OneOf(&["required", "requested", "none"]))
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    list("ssl.enabled.protocols", "TLS versions allowed.")
        .or("TLSv1.2,TLSv1.3")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    text("ssl.endpoint.identification.algorithm", "How a server's name is checked.")
        .or("https")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    class("ssl.engine.factory.class", "Class that makes TLS engines.")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    password("ssl.key.password", "Password of the private key.")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    text("ssl.keymanager.algorithm", "Algorithm of the key manager.")
        .or("SunX509")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    password("ssl.keystore.certificate.chain", "Certificate chain as PEM.")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    password("ssl.keystore.key", "Private key as PEM.").per_broker().ignored(PLAINTEXT_ONLY),
    text("ssl.keystore.location", "File of the key store.").per_broker().ignored(PLAINTEXT_ONLY),
    password("ssl.keystore.password", "Password of the key store.")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    text("ssl.keystore.type", "Format of the key store.")
        .or("JKS")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    text("ssl.principal.mapping.rules", "Rules that shorten certificate names.")
        .or("DEFAULT")
        .ignored(PLAINTEXT_ONLY),
    text("ssl.protocol", "TLS version preferred.")
        .or("TLSv1.3")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    text("ssl.provider", "Java TLS provider.").per_broker().ignored(PLAINTEXT_ONLY),
    text("ssl.secure.random.implementation", "Java random source for TLS.")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    text("ssl.trustmanager.algorithm", "Algorithm of the trust manager.")
        .or("PKIX")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    password("ssl.truststore.certificates", "Trusted certificates as PEM.")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    text("ssl.truststore.location", "File of the trust store.")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    password("ssl.truststore.password", "Password of the trust store.")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
    text("ssl.truststore.type", "Format of the trust store.")
        .or("JKS")
        .per_broker()
        .ignored(PLAINTEXT_ONLY),
];
