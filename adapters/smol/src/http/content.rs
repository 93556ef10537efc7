//! Files of a directory.

use crate::http::{Body, REVALIDATE, status_page, with};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use core::convert::Infallible;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use smol::Unblock;
use smol::io::{AsyncRead as _, AsyncSeek as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tower_http::services::fs::{Backend, File, Metadata, ServeDir};
use tower_service::Service as _;

/// How much of a file is read at a time.
const PIECE: usize = 64 << 10;

/// A directory whose files are served.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    root: Arc<Path>,
}

impl Content {
    /// The directory at `root`, which has to be there.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let root = std::path::absolute(root)?;
        if !fs::metadata(&root)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { root: root.into() })
    }

    /// The answer for `path`, which is relative to the root and begins with `/`.
    pub(crate) async fn respond(
        &self,
        mut request: Request<Incoming>,
        path: &str,
        follow_symlinks: bool,
    ) -> Response<Body> {
        let query = request.uri().query();
        let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        let Ok(uri) = Uri::try_from(target) else { return status_page(StatusCode::NOT_FOUND) };
        *request.uri_mut() = uri;
        // `ServeDir` does not look at it, so that the range might be one of another version.
        if request.headers().contains_key(header::IF_RANGE) {
            request.headers_mut().remove(header::RANGE);
        }
        let redirect = behind_a_slash(request.uri());
        let disk = Disk { root: Arc::clone(&self.root), follow_symlinks };
        let mut files = ServeDir::with_backend("", disk)
            .with_buf_chunk_size(PIECE)
            .ignore_multi_range_requests(true);
        let answer: Result<Response<_>, Infallible> = files.call(request).await;
        let response = match answer {
            Ok(response) => response.map(Body::stream),
            Err(never) => match never {},
        };
        match response.status() {
            // Relative, so that it is right behind a proxy as well, which may know this directory
            // by another path.
            StatusCode::TEMPORARY_REDIRECT => match HeaderValue::try_from(redirect) {
                Ok(redirect) => with(response, header::LOCATION, redirect),
                Err(_) => status_page(StatusCode::NOT_FOUND),
            },
            status if status.is_client_error() || status.is_server_error() => {
                let mut page = status_page(status);
                for name in [header::ALLOW, header::CONTENT_RANGE] {
                    if let Some(value) = response.headers().get(&name) {
                        page.headers_mut().insert(name, value.clone());
                    }
                }
                page
            }
            _ => with(response, header::CACHE_CONTROL, REVALIDATE),
        }
    }
}

/// From a directory without a slash at its end to the same with one, keeping the query.
fn behind_a_slash(uri: &Uri) -> String {
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    // The dot keeps a name with a colon from being taken for a scheme.
    format!("./{name}/{query}")
}

/// The file system as `ServeDir` asks for it, on the threads that smol keeps for what blocks.
#[derive(Clone)]
struct Disk {
    root: Arc<Path>,
    follow_symlinks: bool,
}

type Blocking<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Disk {
    /// Of what is neither file nor directory nothing is told: reading it might never end.
    fn look(&self, path: &Path) -> io::Result<Info> {
        let (is_file, info) = if self.follow_symlinks {
            let found = fs::metadata(self.root.join(path))?;
            (found.is_file(), Info::of(&found))
        } else {
            // What leads outside is refused, by whichever links. The root is opened each time,
            // for it may have been made anew.
            let found = self.root()?.metadata(path)?;
            let modified = found.modified().ok().map(|time| time.into_std());
            (found.is_file(), Info { is_dir: found.is_dir(), len: found.len(), modified })
        };
        if is_file || info.is_dir { Ok(info) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn open(&self, path: &Path) -> io::Result<OpenFile> {
        if self.look(path)?.is_dir {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = if self.follow_symlinks {
            fs::File::open(self.root.join(path))?
        } else {
            self.root()?.open(path)?.into_std()
        };
        let info = Info::of(&file.metadata()?);
        Ok(OpenFile { info, file: Unblock::with_capacity(PIECE, file), seeking: None })
    }

    fn root(&self) -> io::Result<Dir> {
        Dir::open_ambient_dir(&self.root, ambient_authority())
    }
}

impl Backend for Disk {
    type File = OpenFile;
    type Metadata = Info;
    type OpenFuture = Blocking<OpenFile>;
    type MetadataFuture = Blocking<Info>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        let disk = self.clone();
        Box::pin(smol::unblock(move || {
            Self::open(&disk, &path).map_err(|error| tell(&path, error))
        }))
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        let disk = self.clone();
        Box::pin(smol::unblock(move || disk.look(&path).map_err(|error| tell(&path, error))))
    }
}

/// Logs what is not just a path that leads nowhere.
fn tell(path: &Path, error: io::Error) -> io::Error {
    use io::ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound, PermissionDenied};
    match error.kind() {
        NotFound | NotADirectory | PermissionDenied => error,
        InvalidFilename | InvalidInput => NotFound.into(),
        _ => {
            log::error!("{path:?}: {error}");
            error
        }
    }
}

#[derive(Clone, Copy)]
struct Info {
    is_dir: bool,
    len: u64,
    modified: Option<SystemTime>,
}

impl Info {
    fn of(metadata: &fs::Metadata) -> Self {
        let modified = metadata.modified().ok();
        Self { is_dir: metadata.is_dir(), len: metadata.len(), modified }
    }
}

impl Metadata for Info {
    fn is_dir(&self) -> bool {
        self.is_dir
    }

    fn modified(&self) -> io::Result<SystemTime> {
        self.modified.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> u64 {
        self.len
    }
}

struct OpenFile {
    info: Info,
    file: Unblock<fs::File>,
    seeking: Option<io::SeekFrom>,
}

impl File for OpenFile {
    type Metadata = Info;
    type MetadataFuture<'a> = core::future::Ready<io::Result<Info>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        core::future::ready(Ok(self.info))
    }
}

impl tokio::io::AsyncRead for OpenFile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = ready!(Pin::new(&mut self.file).poll_read(cx, buffer.initialize_unfilled()))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncSeek for OpenFile {
    fn start_seek(mut self: Pin<&mut Self>, position: io::SeekFrom) -> io::Result<()> {
        self.seeking = Some(position);
        Ok(())
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let Some(position) = self.seeking else { return Poll::Ready(Ok(0)) };
        let result = ready!(Pin::new(&mut self.file).poll_seek(cx, position));
        self.seeking = None;
        Poll::Ready(result)
    }
}
