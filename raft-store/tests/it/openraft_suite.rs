//! openraft's own storage suite on both engines.

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use raftmq_store::{GroupLog, MemoryDisk};
use tempfile::TempDir;

use crate::support::{GROUP, TestMachine, Types, disk_store, memory_store};

struct OnMemory;

impl StoreBuilder<Types, GroupLog, TestMachine, ()> for OnMemory {
    async fn build(&self) -> Result<((), GroupLog, TestMachine), StorageError<Types>> {
        let group = memory_store(&MemoryDisk::new()).group(GROUP);
        Ok(((), group.log(), TestMachine(group)))
    }
}

struct OnDisk;

impl StoreBuilder<Types, GroupLog, TestMachine, TempDir> for OnDisk {
    async fn build(&self) -> Result<(TempDir, GroupLog, TestMachine), StorageError<Types>> {
        let folder = TempDir::new().unwrap();
        let group = disk_store(folder.path()).group(GROUP);
        Ok((folder, group.log(), TestMachine(group)))
    }
}

#[tokio::test]
async fn openrafts_suite_passes_on_the_simulated_disk() {
    Suite::test_all(OnMemory).await.unwrap();
}

#[tokio::test]
async fn openrafts_suite_passes_on_a_real_disk() {
    Suite::test_all(OnDisk).await.unwrap();
}
