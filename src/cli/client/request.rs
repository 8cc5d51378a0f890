//! `cloison client request`: what a newcomer runs.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use crate::cli::inputs::parse_id;
use crate::clock::{Clock as _, SystemClock};
use crate::joining::{ClientRequest, JoiningClient, fingerprint};
use crate::keys::file::{read_public, write_private, write_public};
use crate::register::{Id, Operation, Quota};
use crate::terminal::{CommandError, print, print_json};

/// Make a key and the block of the register to hand in, to become a client of the vault
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  \
    cloison client request --id chu-fes --organisation chu-fes \\\n    \
    --organisation-name 'CHU Hassan II, Fès' --sector health.chu-fes --purpose care \\\n    \
    --url https://vault.example.org:8443 --server vault.pem --out chu-fes\n\n\
    The folder has then: the private key (0600), which never leaves this machine; its certificate; the client file; and request.toml. Hand in \
    request.toml, and read its fingerprint out by telephone. Those who keep the register run `cloison register add request.toml`. \
    A new sector's declaration is pasted into request.toml first ([[sector]], docs/register.md).")]
pub struct ClientRequestArgs {
    /// The client's id
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    id: Option<Id>,
    /// The controller's id; also the client's, unless --id is given
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    organisation: Id,
    /// The controller's name, where the register does not have it yet
    #[arg(long, value_name = "NAME")]
    organisation_name: Option<String>,
    /// With --organisation-name: how many identifiers a second it asks to send
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1_000,
        requires = "organisation_name"
    )]
    items_per_second: u64,
    /// With --organisation-name: how many identifiers a day it asks to send
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1_000_000,
        requires = "organisation_name"
    )]
    items_per_day: u64,
    /// A sector whose pseudonyms it asks for (repeatable)
    #[arg(long = "sector", value_name = "NAME", required = true)]
    sectors: Vec<String>,
    /// A declared purpose of these sectors (repeatable)
    #[arg(long = "purpose", value_name = "CODE", value_parser = parse_id)]
    purposes: Vec<Id>,
    /// The last day (UTC) on which the entry is to be in force
    #[arg(long, value_name = "DAY")]
    until: Option<Date>,
    /// The vault's address, for the client file
    #[arg(long, value_name = "URL", default_value = "https://127.0.0.1:8443")]
    url: String,
    /// The certificate that the vault shows: it is copied, and its key is the pin
    #[arg(long, value_name = "FILE")]
    server: PathBuf,
    /// How many years the certificate lasts. Only programs other than cloison look at that
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(i16).range(1..=30))]
    years: i16,
    /// The new folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl ClientRequestArgs {
    fn request(&self) -> ClientRequest {
        let quota = Quota {
            items_per_second: self.items_per_second,
            items_per_day: self.items_per_day,
        };
        ClientRequest {
            id: self.id.clone().unwrap_or_else(|| self.organisation.clone()),
            organisation: self.organisation.clone(),
            new_organisation: self.organisation_name.clone().map(|name| (name, quota)),
            sectors: self.sectors.clone(),
            operations: vec![Operation::Tokenize],
            purposes: self.purposes.clone(),
            until: self.until,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When the folder exists, a day is past, or a file cannot be read or written.
pub(super) fn run(args: &ClientRequestArgs) -> Result<(), CommandError> {
    let today = SystemClock.now().to_zoned(jiff::tz::TimeZone::UTC).date();
    if args.until.is_some_and(|until| until < today) {
        return Err(CommandError::usage(
            "--until is in the past",
            "the last day on which the entry is to be in force, as in 2036-12-31",
        ));
    }
    if !args.url.starts_with("https://") {
        return Err(CommandError::usage(
            "--url does not begin with https://",
            "the address of the vault's data listener, as in https://vault.example.org:8443",
        ));
    }
    crate::http::tls::pin_of_file(&args.server)
        .map_err(|error| CommandError::new(error, "--server names the vault's certificate, PEM"))?;
    let server = read_public(&args.server, 1 << 20)
        .map_err(|error| CommandError::new(error, "--server names the vault's certificate, PEM"))?;
    let request = args.request();
    let JoiningClient { made, block } = request.make(today, args.years)?;
    // A folder that is not whole has another name.
    let draft = args.out.with_extension("new");
    let made_folder = make_folder(&args.out, &draft).and_then(|()| {
        let written = write_files(
            &draft,
            args,
            &request.id,
            &made.key,
            &made.certificate,
            &server,
            &block,
        );
        written.and_then(|()| {
            fs::rename(&draft, &args.out).map_err(|error| CommandError::file(&args.out, &error))
        })
    });
    if let Err(error) = made_folder {
        let _ = fs::remove_dir_all(&draft);
        return Err(error);
    }
    let print_of_key = fingerprint(&made.spki);
    if args.json {
        return print_json(&serde_json::json!({
            "out": args.out,
            "id": request.id,
            "sha256": data_encoding::HEXLOWER.encode(&made.spki),
        }));
    }
    let out = args.out.display();
    print(format_args!(
        "{out}/client.key    the private key: it never leaves this machine\n\
         {out}/client.pem    its certificate\n\
         {out}/client.toml   the client file, for --client\n\
         {out}/request.toml  to hand in: `cloison register add` merges it into the register\n\n\
         Read this out by telephone to those who keep the register:\n  {print_of_key}"
    ))
}

fn make_folder(out: &Path, draft: &Path) -> Result<(), CommandError> {
    if fs::symlink_metadata(out).is_ok() {
        return Err(CommandError::new(
            format_args!("{} is there already", out.display()),
            "name a folder that is not there yet; nothing was written",
        ));
    }
    let made = fs::DirBuilder::new().mode(0o700).create(draft);
    made.map_err(|error| CommandError::file(draft, &error))
}

fn write_files(
    folder: &Path,
    args: &ClientRequestArgs,
    id: &Id,
    key: &str,
    certificate: &str,
    server: &[u8],
    block: &str,
) -> Result<(), CommandError> {
    let failed = |error| CommandError::new(error, "check the folder and its disk");
    let file = format!(
        "# The client file of {id}. Paths are relative to this file.\nurl = {:?}\nserver = [\"vault.pem\"]\n\
         certificate = \"client.pem\"\nkey = \"client.key\"\n",
        args.url
    );
    write_private(&folder.join("client.key"), key.as_bytes()).map_err(failed)?;
    write_public(&folder.join("client.pem"), certificate.as_bytes()).map_err(failed)?;
    write_public(&folder.join("vault.pem"), server).map_err(failed)?;
    write_public(&folder.join("client.toml"), file.as_bytes()).map_err(failed)?;
    write_public(&folder.join("request.toml"), block.as_bytes()).map_err(failed)
}
