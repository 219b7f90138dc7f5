//! Tests of the channels of a broker.
