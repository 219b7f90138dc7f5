//! The partition machine, one file for each command or question.

mod append;
mod checkpoint;
mod codec;
mod compaction;
mod compaction_plan;
mod decide;
mod expire;
mod hostile;
mod isr;
mod locate;
mod log_start;
mod model;
mod pending;
mod planted;
mod reader;
mod replay;
mod retention;
mod rows;
mod segment_age;
mod sequence;
