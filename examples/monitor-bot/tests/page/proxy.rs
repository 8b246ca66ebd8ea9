//! What stands between a page and the bot, and is not always well.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the proxy behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// It passes everything on.
    Open,
    /// It cuts what is open, and answers with 502.
    Unavailable,
    /// Lines stay open, and nothing goes over them any more.
    Silent,
    /// Requests that contain this wait.
    Holding(&'static str),
}

/// A proxy in front of the bot, until it is dropped.
pub struct Proxy {
    pub address: String,
    mode: watch::Sender<Mode>,
}

impl Proxy {
    pub async fn start(bot: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (mode, seen) = watch::channel(Mode::Open);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, bot, seen.clone()));
            }
        });
        Self { address, mode }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

/// One request on each connection, so that each meets the mode of its time.
async fn serve(
    mut client: TcpStream,
    bot: SocketAddr,
    mut mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).replace("keep-alive", "close");
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    let waits = |mode: &Mode| match mode {
        Mode::Silent => true,
        Mode::Holding(part) => head.contains(part),
        Mode::Open | Mode::Unavailable => false,
    };
    let now = *mode.wait_for(|mode| !waits(mode)).await.map_err(gone)?;
    if now == Mode::Unavailable {
        let answer = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 4\r\nConnection: close\r\n\r\n<p>.";
        return client.write_all(answer).await;
    }
    let mut bot = TcpStream::connect(bot).await?;
    bot.write_all(head.as_bytes()).await?;
    let cut = async {
        let cut = mode.wait_for(|mode| matches!(mode, Mode::Unavailable | Mode::Silent));
        cut.await.map(drop)
    };
    tokio::select! {
        copied = copy_bidirectional(&mut client, &mut bot) => return copied.map(drop),
        cut = cut => cut.map_err(gone)?,
    }
    let silent = mode.wait_for(|mode| *mode != Mode::Silent).await;
    silent.map(drop).map_err(gone)
}
