//! One conformance suite for every sink: what it commits is what it was given, and whatever fails,
//! at whatever step, nothing that looks like a backup is left.

mod command;
mod copies;
mod datadir;
mod encryption;
mod faulty;
mod mbstream;
mod model;
mod raw;
mod streams;
mod subjects;
mod suite;
mod tar_archive;
mod vectors;
mod xbcloud;

/// Runs the whole suite against a kind of sink.
macro_rules! conforms {
    ($name:ident, $subject:ty) => {
        mod $name {
            use crate::subjects::Subject as _;

            #[tokio::test]
            async fn what_is_committed_is_what_was_written() {
                crate::suite::commits(<$subject>::new).await;
            }

            #[tokio::test]
            async fn an_abort_at_any_step_leaves_nothing() {
                crate::suite::aborts_at_every_step(<$subject>::new).await;
            }

            #[tokio::test]
            async fn a_fault_at_any_step_leaves_nothing() {
                crate::suite::fails_at_every_step(<$subject>::new).await;
            }

            #[tokio::test]
            async fn being_dropped_at_any_step_shows_nothing() {
                crate::suite::is_dropped_at_every_step(<$subject>::new).await;
            }

            #[tokio::test]
            async fn it_works_again_after_a_failure() {
                crate::suite::works_after_failures(<$subject>::new).await;
            }

            #[tokio::test]
            async fn a_stream_cut_or_damaged_anywhere_shows_nothing() {
                crate::suite::shows_nothing_of_bad_streams(<$subject>::new).await;
            }

            #[tokio::test]
            async fn a_fault_under_the_pipeline_at_any_step_leaves_nothing() {
                crate::suite::fails_under_the_pipeline(<$subject>::new).await;
            }
        }
    };
}

conforms!(conforming_datadir, crate::subjects::DatadirSubject);
conforms!(conforming_discard, crate::subjects::DiscardSubject);
conforms!(conforming_spooled, crate::subjects::SpooledSubject);
conforms!(conforming_tar, crate::subjects::TarSubject);
conforms!(conforming_raw, crate::subjects::RawSubject);
conforms!(conforming_chunks, crate::subjects::ChunkedSubject);
conforms!(conforming_repository, crate::subjects::RepositorySubject);
