//! The flags that say which of several exporters this one is.

use clap::Args;

use super::output::CommandFailure;
use crate::target::Shard;

/// Flags of one of several exporters that share a configuration.
#[derive(Clone, Debug, Default, Args)]
pub struct ShardFlags {
    /// Watch only the repositories of this shard of several, counted from 0: needs --total-shards
    #[arg(
        long = "shard",
        value_name = "N",
        requires = "total_shards",
        conflicts_with = "shard_from_hostname",
        help_heading = "Shards"
    )]
    pub shard: Option<u32>,
    /// How many shards there are
    #[arg(long = "total-shards", value_name = "M", help_heading = "Shards")]
    pub total_shards: Option<u32>,
    /// Take the shard from the number that ends the host's name, as a StatefulSet's pods have it, instead of --shard
    #[arg(long = "shard.from-hostname", requires = "total_shards", help_heading = "Shards")]
    pub shard_from_hostname: bool,
}

impl ShardFlags {
    /// Which shard it is; the only one without flags.
    ///
    /// # Errors
    /// There is no such shard, with what to write instead.
    pub(super) fn shard(&self) -> Result<Shard, CommandFailure> {
        self.of_host(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
    }

    /// Whether the flags mean something together, for `--config.check`: it may run on another host than the one whose name
    /// has the number.
    ///
    /// # Errors
    /// They name no shard, with what to write instead.
    pub(super) fn check(&self) -> Result<(), CommandFailure> {
        self.of_host(|| "exporter-0".to_owned()).map(drop)
    }

    fn of_host(&self, host_name: impl Fn() -> String) -> Result<Shard, CommandFailure> {
        let Some(total) = self.total_shards else { return Ok(Shard::default()) };
        // Of the total alone, before a number and a host's name are looked at.
        Shard::new(0, total).map_err(|error| CommandFailure::arguments(format!("--total-shards={total}: {error}")))?;
        let refused = |number: u32, of: &str| {
            Shard::new(number, total).map_err(|error| CommandFailure::arguments(format!("{of}: {error}")))
        };
        if let Some(number) = self.shard {
            return refused(number, &format!("--shard={number} --total-shards={total}"));
        }
        if self.shard_from_hostname {
            let name = host_name();
            let number = ordinal(&name).ok_or_else(|| {
                CommandFailure::arguments(format!(
                    "--shard.from-hostname: the host's name `{name}` does not end in a number, as in `{}-0`: write --shard=N instead",
                    first_label(&name)
                ))
            })?;
            return refused(number, &format!("--shard.from-hostname --total-shards={total}, on the host `{name}`"));
        }
        Err(CommandFailure::arguments(format!(
            "--total-shards={total} says not which shard this is: write --shard=N, or --shard.from-hostname in a StatefulSet"
        )))
    }
}

/// The number that a StatefulSet's pod has after the last `-` of its name.
fn ordinal(host_name: &str) -> Option<u32> {
    let (_, number) = first_label(host_name).rsplit_once('-')?;
    number.bytes().all(|digit| digit.is_ascii_digit()).then(|| number.parse().ok())?
}

/// A host's name without its domain.
fn first_label(host_name: &str) -> &str {
    host_name.split('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: Option<u32>, total: Option<u32>, host_name: Option<&str>) -> Result<String, String> {
        let flags = ShardFlags { shard: number, total_shards: total, shard_from_hostname: host_name.is_some() };
        let found = flags.of_host(|| host_name.unwrap_or_default().to_owned());
        found
            .map(|shard| shard.to_string())
            .map_err(|error| format!("{}, exit code {}", error.message, error.exit_code))
    }

    #[test]
    fn a_shard_is_named_by_flags_or_by_the_host() {
        assert_eq!(shard(None, None, None), Ok("0 of 1".to_owned()));
        assert_eq!(shard(Some(2), Some(3), None), Ok("2 of 3".to_owned()));
        for (name, expected) in [
            ("exporter-2", "2 of 12"),
            ("image-size-exporter-11", "11 of 12"),
            ("exporter-0.exporter.monitoring.svc.cluster.local", "0 of 12"),
            ("exporter-007", "7 of 12"),
        ] {
            assert_eq!(shard(None, Some(12), Some(name)), Ok(expected.to_owned()), "{name}");
        }
    }

    #[test]
    fn what_names_no_shard_is_refused_with_what_to_write() {
        for (number, total, host_name, expected) in [
            (
                Some(3),
                Some(3),
                None,
                "--shard=3 --total-shards=3: of 3 shards there is no number 3: they are counted from 0, so that the last one is 2",
            ),
            (Some(0), Some(0), None, "--total-shards=0: there is at least one shard: write 1 or more"),
            (Some(7), Some(1001), None, "--total-shards=1001: 1001 shards are too many: write 1000 or less"),
            (
                None,
                Some(3),
                None,
                "--total-shards=3 says not which shard this is: write --shard=N, or --shard.from-hostname in a StatefulSet",
            ),
            (
                None,
                Some(2),
                Some("exporter-2"),
                "--shard.from-hostname --total-shards=2, on the host `exporter-2`: of 2 shards there is no number 2: they are counted from 0, so that the last one is 1",
            ),
            (
                None,
                Some(2),
                Some("web01.example.com"),
                "--shard.from-hostname: the host's name `web01.example.com` does not end in a number, as in `web01-0`: write --shard=N instead",
            ),
        ] {
            assert_eq!(shard(number, total, host_name), Err(format!("{expected}, exit code 2")));
        }
        for name in ["exporter-", "exporter-7f9c", "exporter-99999999999", "7", "", "exporter-+1"] {
            assert!(shard(None, Some(3), Some(name)).is_err(), "{name}");
        }
    }
}
