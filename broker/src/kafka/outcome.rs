//! Whether a response carries an error anywhere: for the metrics.

use raftmq_kafka_protocol::messages::{
    AlterClientQuotasResponse, AlterConfigsResponse, ApiVersionsResponse, CreatePartitionsResponse,
    CreateTopicsResponse, DeleteRecordsResponse, DeleteTopicsResponse,
    DescribeClientQuotasResponse, DescribeClusterResponse, DescribeConfigsResponse,
    DescribeProducersResponse, DescribeTopicPartitionsResponse, FetchResponse,
    FindCoordinatorResponse, IncrementalAlterConfigsResponse, InitProducerIdResponse,
    ListOffsetsResponse, MetadataResponse, OffsetForLeaderEpochResponse, ProduceResponse,
};

/// A response of an API that is served.
pub(super) trait Outcome {
    /// True if any part of it has an error code other than 0.
    fn has_error(&self) -> bool;
}

/// The code of the response itself.
macro_rules! own_code {
    ($($response:ident),+) => {
        $(impl Outcome for $response {
            fn has_error(&self) -> bool {
                self.error_code != 0
            }
        })+
    };
}

/// The codes of its parts.
macro_rules! codes_of {
    ($($response:ident $parts:ident),+) => {
        $(impl Outcome for $response {
            fn has_error(&self) -> bool {
                self.$parts.iter().any(|part| part.error_code != 0)
            }
        })+
    };
}

/// The codes of the partitions in its topics.
macro_rules! codes_of_partitions {
    ($($response:ident $topics:ident $partitions:ident),+) => {
        $(impl Outcome for $response {
            fn has_error(&self) -> bool {
                let mut partitions = self.$topics.iter().flat_map(|topic| &topic.$partitions);
                partitions.any(|partition| partition.error_code != 0)
            }
        })+
    };
}

own_code!(
    ApiVersionsResponse,
    InitProducerIdResponse,
    DescribeClientQuotasResponse,
    DescribeClusterResponse
);
codes_of!(
    MetadataResponse topics,
    CreateTopicsResponse topics,
    DeleteTopicsResponse responses,
    DescribeConfigsResponse results,
    CreatePartitionsResponse results,
    AlterClientQuotasResponse entries,
    AlterConfigsResponse responses,
    IncrementalAlterConfigsResponse responses,
    DescribeTopicPartitionsResponse topics
);
codes_of_partitions!(
    ProduceResponse responses partition_responses,
    ListOffsetsResponse topics partitions,
    DeleteRecordsResponse topics partitions,
    OffsetForLeaderEpochResponse topics partitions,
    DescribeProducersResponse topics partitions
);

impl Outcome for FetchResponse {
    fn has_error(&self) -> bool {
        let mut partitions = self.responses.iter().flat_map(|topic| &topic.partitions);
        self.error_code != 0 || partitions.any(|partition| partition.error_code != 0)
    }
}

impl Outcome for FindCoordinatorResponse {
    fn has_error(&self) -> bool {
        self.error_code != 0 || self.coordinators.iter().any(|one| one.error_code != 0)
    }
}
