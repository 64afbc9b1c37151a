//! The `galera-sst` command.

fn main() -> std::process::ExitCode {
    galera_sst::cli::main()
}
