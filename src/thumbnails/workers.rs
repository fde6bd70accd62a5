//! The server's side: a process for each thumbnail, so many at a time, and its end.

use std::{
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

use bytes::Bytes;
use depesche_server::media::{
    blobs::ByteStream,
    thumbnails::{Made, Measured, Order, Source, Thumbnailer, Unmade},
};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{ChildStdin, Command},
    sync::Semaphore,
};

use crate::{
    Bounds, COMMAND,
    bounds::MEASURE,
    picture,
    worker::{self, Answer},
};

/// The most bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 32 << 20;
/// Exit code of a process of Rust that panicked.
const PANICKED: i32 = 101;

/// Starts processes that make thumbnails.
pub struct Workers {
    program: PathBuf,
    arguments: Vec<String>,
    bounds: Bounds,
    places: Semaphore,
}

impl Workers {
    /// So many at a time, each this program again with [`COMMAND`] as its first argument.
    pub fn new(processes: usize, bounds: Bounds) -> Self {
        // This very program, also when a newer one lies in its place by now.
        Self { arguments: vec![COMMAND.to_owned()], ..Self::of("/proc/self/exe".into(), processes, bounds) }
    }

    /// So many at a time, each another program. For tests.
    pub fn of(program: PathBuf, processes: usize, bounds: Bounds) -> Self {
        Self { program, arguments: Vec::new(), bounds, places: Semaphore::new(processes) }
    }

    async fn run(&self, first: Bytes, rest: ByteStream, order: Order) -> Result<Answer, Unmade> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .args(self.bounds.arguments(order))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Unmade::Failed(format!("cannot start a process: {error}")))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Unmade::Failed("a process without pipes".to_owned()));
        };
        let mut said = Vec::new();
        let listen = async { output.take(MAX_ANSWER_BYTES).read_to_end(&mut said).await };
        let talk = async {
            let (fed, heard) = tokio::join!(feed(input, first, rest), listen);
            heard.map_err(|error| Unmade::Failed(error.to_string()))?;
            let status = child.wait().await.map_err(|error| Unmade::Failed(error.to_string()))?;
            fed.map(|()| status)
        };
        // Dropped in the middle, the process is killed.
        let status = tokio::time::timeout(self.bounds.time, talk).await.map_err(|_| Unmade::TooLarge)??;
        judge(status, &said.into())
    }
}

impl Workers {
    async fn ask(&self, source: Source, order: Order) -> Result<Answer, Unmade> {
        let Source { mut bytes, .. } = source;
        let first = match bytes.next().await {
            Some(Ok(first)) => first,
            Some(Err(error)) => return Err(Unmade::Failed(error.to_string())),
            None => return Err(Unmade::Unfit),
        };
        // Most of what is no picture needs no process.
        picture::format(&first)?;
        let _place = self.places.acquire().await.map_err(|error| Unmade::Failed(error.to_string()))?;
        self.run(first, bytes, order).await
    }
}

impl Thumbnailer for Workers {
    fn make(&self, source: Source, order: Order) -> BoxFuture<'_, Result<Made, Unmade>> {
        async move {
            match self.ask(source, order).await? {
                Answer::Made(made) => Ok(made),
                Answer::Measured(_) => Err(nonsense()),
            }
        }
        .boxed()
    }

    fn measure(&self, source: Source) -> BoxFuture<'_, Result<Measured, Unmade>> {
        async move {
            match self.ask(source, MEASURE).await? {
                Answer::Measured(measured) => Ok(measured),
                Answer::Made(_) => Err(nonsense()),
            }
        }
        .boxed()
    }
}

fn nonsense() -> Unmade {
    Unmade::Failed("a process spoke nonsense".to_owned())
}

/// Gives the process its picture. One that does not want all of it has its reasons, and says them.
async fn feed(mut input: ChildStdin, first: Bytes, mut rest: ByteStream) -> Result<(), Unmade> {
    let mut piece = first;
    loop {
        if input.write_all(&piece).await.is_err() {
            return Ok(());
        }
        match rest.next().await {
            Some(Ok(next)) => piece = next,
            Some(Err(error)) => return Err(Unmade::Failed(error.to_string())),
            None => return Ok(()),
        }
    }
}

/// What became of the process.
fn judge(status: ExitStatus, said: &Bytes) -> Result<Answer, Unmade> {
    match status.code() {
        Some(0) => worker::decode(said).unwrap_or_else(|| Err(nonsense())),
        Some(PANICKED) => {
            tracing::warn!("a picture made its decoder panic");
            Err(Unmade::Unfit)
        }
        Some(code) => Err(Unmade::Failed(format!("a process ended with code {code}"))),
        // Ended by the system: it wanted more memory or more time than it may have.
        None => Err(Unmade::TooLarge),
    }
}
