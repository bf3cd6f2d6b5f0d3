//! DescribeCluster, versions 0 to 2: the cluster's id and its brokers.
//!
//! Pure. Source: Kafka 4.3.1's answers on a broker's listener.

use protocol::ErrorCode;
use protocol::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

use super::{CLUSTER_OPERATIONS, NO_OPERATIONS, controller_id};
use crate::image::Image;

/// Endpoint type of brokers.
const BROKER: i8 = 1;
/// Endpoint type of controllers.
const CONTROLLER: i8 = 2;

/// Answers DescribeCluster. `endpoint_type` is 1 (brokers) in version 0, which does not carry it.
pub fn describe_cluster(
    image: &Image,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let refused = |code: ErrorCode, why: String| DescribeClusterResponse {
        error_code: code as i16,
        error_message: Some(why),
        ..DescribeClusterResponse::default()
    };
    match request.endpoint_type {
        BROKER => {}
        CONTROLLER => {
            let why = "The request was sent to an endpoint of type BROKER, but we wanted an \
                       endpoint of type CONTROLLER";
            return refused(ErrorCode::MismatchedEndpointType, why.into());
        }
        other => {
            let why = format!("Unsupported endpoint type {other}");
            return refused(ErrorCode::UnsupportedEndpointType, why);
        }
    }
    DescribeClusterResponse {
        throttle_time_ms: 0,
        error_code: ErrorCode::None as i16,
        error_message: None,
        endpoint_type: BROKER,
        cluster_id: image.cluster_id().to_string(),
        controller_id: controller_id(image),
        brokers: image
            .brokers()
            .values()
            .map(|broker| DescribeClusterBroker {
                broker_id: broker.id,
                host: broker.host.clone(),
                port: broker.port.into(),
                rack: broker.rack.clone(),
                is_fenced: false,
            })
            .collect(),
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => CLUSTER_OPERATIONS,
            false => NO_OPERATIONS,
        },
    }
}
