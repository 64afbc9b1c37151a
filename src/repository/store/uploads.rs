//! Unfinished multipart uploads: what the object store's client cannot list, and nobody else ends.
//!
//! S3 keeps the parts of an upload until it is completed or aborted, and so does Google's XML
//! interface, which speaks the same requests. Azure drops uncommitted blocks by itself after a week.

use std::fmt;
use std::time::Duration;

use http::{Method, Request, StatusCode};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::gcp::GcpCredentialProvider;
use object_store::{Error, Result};
use serde::Deserialize;

/// Uploads that are listed at most, so that a strange answer cannot keep us for ever.
const UPLOADS_MAX: usize = 100_000;

/// Limit for one request.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// Lists and ends the unfinished uploads of a bucket.
pub(super) struct Uploads {
    pub(super) client: HttpClient,
    /// URL of the bucket, without a slash at its end.
    pub(super) bucket_url: String,
    /// What all names begin with: empty, or with a slash at its end.
    pub(super) prefix: String,
    pub(super) identity: Identity,
}

/// How requests are signed.
pub(super) enum Identity {
    Aws {
        credentials: AwsCredentialProvider,
        region: String,
    },
    Google {
        credentials: GcpCredentialProvider,
    },
    /// Not at all.
    Nobody,
}

/// Without the identity, which holds secrets.
impl fmt::Debug for Uploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uploads").field("bucket_url", &self.bucket_url).finish_non_exhaustive()
    }
}

/// An unfinished upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfinished {
    /// The object's name below the prefix.
    pub(super) name: String,
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Listing {
    #[serde(rename = "Upload")]
    uploads: Vec<ListedUpload>,
    is_truncated: bool,
    next_key_marker: String,
    next_upload_id_marker: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ListedUpload {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "UploadId")]
    id: String,
}

impl Uploads {
    /// All unfinished uploads whose names begin so.
    pub(super) async fn list(&self, below: &str) -> Result<Vec<Unfinished>> {
        let prefix = encode(&format!("{}{below}", self.prefix));
        let mut found: Vec<Unfinished> = Vec::new();
        let mut markers = String::new();
        loop {
            let query = format!("{markers}prefix={prefix}&uploads=");
            let body = self.ask(Method::GET, "", &query).await?.unwrap_or_default();
            let listing: Listing = quick_xml::de::from_str(&body).map_err(failed)?;
            let ours = listing.uploads.into_iter().filter_map(|upload| self.ours(upload));
            found.extend(ours);
            let has_more = listing.is_truncated && !listing.next_key_marker.is_empty();
            if !has_more || found.len() >= UPLOADS_MAX {
                return Ok(found);
            }
            // Signatures want the query in this order.
            let key = encode(&listing.next_key_marker);
            markers = format!("key-marker={key}&");
            if !listing.next_upload_id_marker.is_empty() {
                let id = encode(&listing.next_upload_id_marker);
                markers = format!("{markers}upload-id-marker={id}&");
            }
        }
    }

    /// Ends an upload; one that is gone already is no error.
    pub(super) async fn end(&self, upload: &Unfinished) -> Result<()> {
        let key = format!("{}{}", self.prefix, upload.name);
        let path = key.split('/').map(encode).collect::<Vec<_>>().join("/");
        let query = format!("uploadId={}", encode(&upload.id));
        self.ask(Method::DELETE, &format!("/{path}"), &query).await.map(drop)
    }

    fn ours(&self, upload: ListedUpload) -> Option<Unfinished> {
        let name = upload.key.strip_prefix(&self.prefix)?.to_owned();
        Some(Unfinished { name, id: upload.id })
    }

    /// The answer's text; `None` if there is no such thing.
    async fn ask(&self, method: Method, path: &str, query: &str) -> Result<Option<String>> {
        let uri = format!("{}{path}?{query}", self.bucket_url);
        let request = Request::builder().method(method).uri(uri).body(HttpRequestBody::empty());
        let mut request = request.map_err(failed)?;
        self.sign(&mut request).await?;
        let answered = tokio::time::timeout(REQUEST_LIMIT, self.client.execute(request)).await;
        let answer = answered.map_err(failed)?.map_err(failed)?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let read = tokio::time::timeout(REQUEST_LIMIT, answer.into_body().bytes()).await;
                let body = read.map_err(failed)?.map_err(failed)?;
                Ok(Some(String::from_utf8_lossy(&body).into_owned()))
            }
            status => Err(failed(std::io::Error::other(format!("answer {status}")))),
        }
    }

    async fn sign(&self, request: &mut HttpRequest) -> Result<()> {
        match &self.identity {
            Identity::Aws { credentials, region } => {
                let credential = credentials.get_credential().await?;
                AwsAuthorizer::new(&credential, "s3", region).try_authorize(request, None)
            }
            Identity::Google { credentials } => {
                let credential = credentials.get_credential().await?;
                let value = http::HeaderValue::try_from(format!("Bearer {}", credential.bearer));
                let mut value = value.map_err(failed)?;
                value.set_sensitive(true);
                request.headers_mut().insert(http::header::AUTHORIZATION, value);
                Ok(())
            }
            Identity::Nobody => Ok(()),
        }
    }
}

/// Percent-encodes everything but what RFC 3986 leaves alone, as signatures want it.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: "unfinished uploads", source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_with_and_without_uploads() {
        let text = "<ListMultipartUploadsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Bucket>b</Bucket><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>\
            <Upload><Key>p/a b</Key><UploadId>1</UploadId></Upload>\
            <Upload><Key>p/c</Key><UploadId>2</UploadId><Initiated>x</Initiated></Upload>\
            </ListMultipartUploadsResult>";
        let listing: Listing = quick_xml::de::from_str(text).expect("readable");
        assert!(listing.is_truncated);
        let keys: Vec<_> = listing.uploads.iter().map(|upload| upload.key.as_str()).collect();
        assert_eq!(keys, ["p/a b", "p/c"]);
        let empty = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>\
            </ListMultipartUploadsResult>";
        let listing: Listing = quick_xml::de::from_str(empty).expect("readable");
        assert!(listing.uploads.is_empty());
    }

    #[test]
    fn names_are_encoded_as_signatures_want_them() {
        assert_eq!(encode("a/b c:d~e"), "a%2Fb%20c%3Ad~e");
    }
}
