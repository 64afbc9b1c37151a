//! `galera-sst prune` and `galera-sst copy`.

use std::time::Duration;

use super::restore::{Error, conclude};
use super::store::{StoreArgs, UploadArgs};
use super::{Output, talk};
use crate::exit::ExitCode;
use crate::pipeline::manifest::BackupId;
use crate::repository::{
    Copied, CopyTarget, KeepRules, PruneConfig, Pruned, Repository, RepositoryUrl, StoreOptions,
};

/// Arguments of `prune`.
#[derive(Debug, clap::Args)]
pub(super) struct PruneArgs {
    /// The repository: file:///DIR, s3://BUCKET/PREFIX, gs://… or az://…
    #[arg(long, value_name = "REPOSITORY", value_parser = RepositoryUrl::parse)]
    from: RepositoryUrl,
    /// Keep the newest N backups of each group
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Keep rules")]
    keep_last: u32,
    /// Keep the newest backup of each of the last N hours that have one
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Keep rules")]
    keep_hourly: u32,
    /// The same for days
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Keep rules")]
    keep_daily: u32,
    /// The same for weeks
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Keep rules")]
    keep_weekly: u32,
    /// The same for months
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Keep rules")]
    keep_monthly: u32,
    /// The same for years
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Keep rules")]
    keep_yearly: u32,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Remove even the last good backup of a group if no rule keeps it, and what other programs began and did not finish
    #[arg(long)]
    force: bool,
    /// Sweep an unfinished backup in which nothing has happened for so long, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "86400", value_parser = super::seconds)]
    incomplete_after: Duration,
    #[command(flatten)]
    store: StoreArgs,
}

/// Arguments of `copy`.
#[derive(Debug, clap::Args)]
pub(super) struct CopyArgs {
    /// The repository to copy from
    #[arg(long, value_name = "REPOSITORY", value_parser = RepositoryUrl::parse)]
    from: RepositoryUrl,
    /// The repository to copy into
    #[arg(long, value_name = "REPOSITORY", value_parser = RepositoryUrl::parse)]
    to: RepositoryUrl,
    /// The backup's id, `latest`, or `all`
    #[arg(long, value_name = "ID", default_value = "latest")]
    id: String,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    upload: UploadArgs,
}

/// Runs `prune`.
pub(super) async fn prune(args: PruneArgs, output: Output) -> ExitCode {
    let config = PruneConfig {
        keep: KeepRules {
            last: args.keep_last,
            hourly: args.keep_hourly,
            daily: args.keep_daily,
            weekly: args.keep_weekly,
            monthly: args.keep_monthly,
            yearly: args.keep_yearly,
        },
        force: args.force,
        incomplete_after: args.incomplete_after,
        dry_run: args.dry_run,
    };
    let pruned = async {
        Repository::open_with(&args.from, &args.store.options()).await?.prune(&config).await
    };
    conclude(pruned.await.map_err(Error::from).map(|pruned| answer(&pruned, &config, output)))
}

fn answer(pruned: &Pruned, config: &PruneConfig, output: Output) -> ExitCode {
    for (id, why) in &pruned.unreadable {
        talk::say(&format!("{id} stays: {why}"));
    }
    match output {
        Output::Json => talk::answer(
            &serde_json::json!({
                "dry_run": config.dry_run,
                "kept": pruned.kept,
                "removed": pruned.removed,
                "swept": pruned.swept,
                "young": pruned.young,
                "unreadable": pruned.unreadable.iter().map(|(id, _)| id).collect::<Vec<_>>(),
            })
            .to_string(),
        ),
        Output::Text => {
            let [removed, swept] = if config.dry_run {
                ["would be removed", "unfinished, would be swept"]
            } else {
                ["removed", "unfinished, swept"]
            };
            let lines = [
                (&pruned.kept, "kept"),
                (&pruned.removed, removed),
                (&pruned.swept, swept),
                (&pruned.young, "unfinished, perhaps being written"),
            ];
            for (ids, what) in lines {
                ids.iter().for_each(|id| talk::answer(&format!("{id}  {what}")));
            }
        }
    }
    ExitCode::Success
}

/// Runs `copy`.
pub(super) async fn copy(args: CopyArgs, output: Output) -> ExitCode {
    conclude(copied(args, output).await)
}

async fn copied(args: CopyArgs, output: Output) -> Result<ExitCode, Error> {
    let options = StoreOptions { upload_limit: args.upload.limit(), ..args.store.options() };
    let from = Repository::open_with(&args.from, &options).await?;
    let target = CopyTarget::open(&args.to, &options, args.upload.config()).await?;
    let ids: Vec<BackupId> = match args.id.as_str() {
        "latest" => vec![from.latest().await?],
        "all" => {
            let ours = from.list().await?.into_iter().map(|listed| listed.id);
            let foreign = from.list_foreign().await?.into_iter();
            let foreign = foreign.filter(|it| it.fault.is_none()).map(|it| it.backup_id);
            ours.chain(foreign).collect()
        }
        id => vec![BackupId::foreign(id).ok_or_else(|| Error::Id(id.to_owned()))?],
    };
    let mut rows = Vec::new();
    for id in ids {
        let copied = target.copy(&from, &id).await?;
        if output == Output::Text {
            talk::answer(&match copied {
                Copied::Now(bytes) => format!("{id}  copied, {bytes} bytes"),
                Copied::Before => format!("{id}  was there already"),
            });
        }
        let bytes = match copied {
            Copied::Now(bytes) => bytes,
            Copied::Before => 0,
        };
        rows.push(serde_json::json!({ "backup_id": id, "copied_bytes": bytes }));
    }
    if output == Output::Json {
        talk::answer(&serde_json::json!(rows).to_string());
    }
    Ok(ExitCode::Success)
}
