//! An ASF file that is played, wherever its bytes are: looked through as a whole, then read in chunks.
//!
//! The demo in the binary is a file that happens to lie in memory.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::inspect::{CHUNK_BYTES, Examiner, InspectError, Inspection};

/// Where a file's bytes are.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    File(PathBuf),
    Memory(&'static [u8]),
}

/// The bytes, readable in chunks.
#[derive(Debug)]
pub(crate) enum Media {
    File {
        file: tokio_uring::fs::File,
        path: PathBuf,
        size: u64,
    },
    Memory(&'static [u8]),
}

/// Why a file cannot be played.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MediaError {
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error("cannot read it at byte {at}: {source}")]
    Read { at: u64, source: io::Error },
}

impl Media {
    pub(crate) async fn open(origin: &Origin) -> Result<Self, MediaError> {
        let path = match origin {
            Origin::Memory(bytes) => return Ok(Self::Memory(bytes)),
            Origin::File(path) => path,
        };
        let failed = |source| InspectError::Read {
            path: path.clone(),
            at: 0,
            source,
        };
        // tokio-uring has no fstat; one stat at opening is cheap.
        let size = std::fs::metadata(path).map_err(failed)?.len();
        let file = tokio_uring::fs::File::open(path).await.map_err(failed)?;
        Ok(Self::File {
            file,
            path: path.clone(),
            size,
        })
    }

    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Up to a chunk from `at`, in the buffer lent; empty at the end.
    pub(crate) async fn read(&self, at: u64, mut buffer: Vec<u8>) -> Result<Vec<u8>, MediaError> {
        buffer.clear();
        match self {
            Self::File { file, .. } => {
                let (result, buffer) = file.read_at(buffer, at).await;
                match result {
                    Ok(_) => Ok(buffer),
                    Err(source) => Err(MediaError::Read { at, source }),
                }
            }
            Self::Memory(bytes) => {
                let rest = usize::try_from(at)
                    .ok()
                    .and_then(|at| bytes.get(at..))
                    .unwrap_or_default();
                buffer.extend_from_slice(&rest[..rest.len().min(CHUNK_BYTES)]);
                Ok(buffer)
            }
        }
    }

    /// Reads all of it and says what is in it.
    pub(crate) async fn inspect(&self) -> Result<Inspection, MediaError> {
        let mut examiner = Examiner::new(self.path(), self.size());
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let mut at = 0;
        while !examiner.is_done() {
            chunk = self.read(at, chunk).await?;
            examiner.push(&chunk)?;
            at += chunk.len() as u64;
        }
        Ok(examiner.finish()?)
    }

    fn path(&self) -> &Path {
        match self {
            Self::File { path, .. } => path,
            Self::Memory(_) => Path::new("the built-in demo"),
        }
    }
}
