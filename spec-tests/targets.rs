//! The two targets: their configuration and their command line.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::object_store::{BUCKET, SECRET};
use crate::server::{
    LIMITED_LOGINS, LIMITED_MESSAGES, Options, Registration, SCARCE, SERVER_NAME, SMALL_QUOTA, TURN_SECRET, TURN_URIS,
    Turn,
};

/// The configuration of Depesche in a target's directory.
pub const DEPESCHE_CONFIG: &str = "depesche.toml";
/// What proves to Synapse that the operator asks.
pub const SYNAPSE_SECRET: &str = "tests-only";

pub fn depesche(directory: &Path, address: SocketAddr, options: &Options) -> Result<Command, String> {
    let binary = binary()?;
    let data = directory.join("data");
    let mut text = format!(
        "[server]\nname = {SERVER_NAME:?}\nbase_url = \"http://{address}\"\ndata_dir = {data:?}\n\
         listen = [\"{address}\"]\n\n[accounts]\ntoken_login = true\n\n[registration]\n"
    );
    text.push_str(match options.registration {
        Registration::Open => "mode = \"open\"\n",
        Registration::Token => "mode = \"token\"\n",
        Registration::Terms => DEPESCHE_TERMS,
        Registration::Closed => "mode = \"closed\"\n",
    });
    // The cases have a push gateway of their own, on loopback and without TLS.
    text.push_str("\n[push]\nallow_http = true\n\n[outgoing]\nallow_networks = [\"127.0.0.0/8\"]\n");
    text.push_str("\n[rate_limits]\n");
    if options.limited {
        let (messages, logins) = (LIMITED_MESSAGES, LIMITED_LOGINS);
        let _ = write!(text, "messages_burst = {messages}\nmessages_per_minute = 60\nlogins_burst = {logins}\n");
        text = text.replacen("[server]\n", "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]\n", 1);
    } else if options.scarce {
        for kind in ["messages", "logins", "joins", "media", "to_device", "other"] {
            let _ = write!(text, "{kind}_burst = {SCARCE}\n{kind}_per_minute = 1\n");
        }
    } else {
        text.push_str("enabled = false\n");
    }
    let _ = write!(text, "\n[presence]\nenabled = {}\n", options.presence);
    if options.tiny_store {
        text.push_str("\n[store]\nwrite_buffer_mb = 1\n");
    }
    let pending = options.pending_uploads.unwrap_or(5);
    text.push_str(&format!("\n[media]\nmax_upload_mb = 4\npending_per_user = {pending}\n"));
    if options.small_quota {
        let _ = writeln!(text, "max_mb_per_user = {}", SMALL_QUOTA >> 20);
    }
    if options.legacy_media {
        text.push_str("legacy = \"on\"\n");
    }
    if let Some(turn) = options.turn {
        let file = directory.join("turn-secret");
        write(&file, &format!("{TURN_SECRET}\n"))?;
        let _ = write!(text, "\n[turn]\nuris = {TURN_URIS:?}\nlifetime = \"1h\"\n");
        let _ = match turn {
            Turn::SharedSecret => writeln!(text, "shared_secret_file = {file:?}"),
            Turn::Fixed => write!(text, "username = \"everyone\"\npassword_file = {file:?}\n"),
        };
    }
    if options.previews {
        let networks = "allow_networks = [\"127.0.0.1/32\"]";
        let _ = write!(text, "\n[media.previews]\nenabled = true\nany_port = true\n{networks}\n");
    }
    if let Some(url) = options.object_store.clone().or_else(|| std::env::var("DEPESCHE_OBJECT_STORE").ok()) {
        text.push_str(&object_store(directory, &url)?);
    }
    text.push_str(&options.more);
    let config = directory.join(DEPESCHE_CONFIG);
    write(&config, &text)?;
    let mut command = Command::new(binary);
    command.arg("--config").arg(&config).arg("serve").env("RUST_BACKTRACE", "1");
    Ok(command)
}

/// The section of a store of files. Its prefix is the server's folder, which no other server has.
fn object_store(directory: &Path, url: &str) -> Result<String, String> {
    let secrets = ["id", "secret"].map(|name| directory.join(format!("object-store-{name}")));
    write(&secrets[0], "an-access-key\n")?;
    write(&secrets[1], &format!("{SECRET}\n"))?;
    let [id, secret] = secrets;
    let prefix = directory.to_str().ok_or("the directory is not UTF-8")?.trim_start_matches('/');
    Ok(format!(
        "\n[media.store]\nendpoint = \"{url}\"\nbucket = \"{BUCKET}\"\nprefix = \"{prefix}\"\n\
         access_key_id_file = {id:?}\nsecret_access_key_file = {secret:?}\n"
    ))
}

/// The binary of this workspace, or the one that `DEPESCHE_BIN` names.
pub fn binary() -> Result<PathBuf, String> {
    let binary = match std::env::var_os("DEPESCHE_BIN") {
        Some(path) => PathBuf::from(path),
        None => beside_the_tests("depesche")?,
    };
    if binary.exists() {
        Ok(binary)
    } else {
        Err(format!("{} is missing: build it first (cargo build)", binary.display()))
    }
}

const DEPESCHE_TERMS: &str = "mode = \"open\"

[[registration.terms]]
id = \"privacy_policy\"
version = \"1.0\"
name = \"Privacy\"
url = \"https://depesche.test/privacy\"
";

/// The executable `name` in the profile's directory; test executables lie in its `deps`.
fn beside_the_tests(name: &str) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let folder = own.parent().filter(|folder| folder.file_name() != Some("deps".as_ref()));
    let profile = folder.or_else(|| own.parent().and_then(Path::parent)).ok_or("no profile directory")?;
    Ok(profile.join(name))
}

pub fn synapse(directory: &Path, address: SocketAddr, options: &Options) -> Result<Command, String> {
    let home = std::env::var_os("DEPESCHE_SYNAPSE")
        .ok_or("DEPESCHE_SYNAPSE is not set: the virtual environment that holds matrix-synapse")?;
    let path = directory.to_str().ok_or("the temporary directory is not UTF-8")?;
    write(&directory.join("signing.key"), "ed25519 a_test 3VlfKZqPIqmiTbrrSkpMLzTW7OQPIGbnYFjXbzoUwbk\n")?;
    write(&directory.join("log.yaml"), SYNAPSE_LOG)?;
    fs::create_dir_all(directory.join("terms/en")).map_err(|e| e.to_string())?;
    write(&directory.join("terms/en/1.0.html"), "<p>Terms</p>")?;
    write(&directory.join("terms/en/success.html"), "<p>Thank you</p>")?;
    let registration = match options.registration {
        Registration::Open => "enable_registration: true\nenable_registration_without_verification: true\n".to_owned(),
        Registration::Token => "enable_registration: true\nregistration_requires_token: true\n".to_owned(),
        Registration::Terms => format!(
            "enable_registration: true\nenable_registration_without_verification: true\n\
             user_consent:\n  template_dir: {path}/terms\n  version: '1.0'\n  require_at_registration: true\n\
             form_secret: tests-only\n"
        ),
        Registration::Closed => "enable_registration: false\n".to_owned(),
    };
    let resources = "{names: [client, openid], compress: false}";
    let limited = options.limited;
    let limits = if limited {
        format!(
            "rc_message: {{per_second: 1, burst_count: {LIMITED_MESSAGES}}}\n\
             rc_login: {{address: {{per_second: 0.5, burst_count: {LIMITED_LOGINS}}}, account: *free, failed_attempts: *free}}\n"
        )
    } else if options.scarce {
        synapse_scarce()
    } else {
        "rc_message: *free\nrc_login: {address: *free, account: *free, failed_attempts: *free}\n".to_owned()
    };
    let quota = if options.small_quota {
        format!("media_upload_limits: [{{time_period: 1d, max_size: {SMALL_QUOTA}}}]\n")
    } else {
        String::new()
    };
    let previews = if options.previews { SYNAPSE_PREVIEWS } else { "url_preview_enabled: false\n" };
    let believed = match options.turn {
        None => String::new(),
        Some(Turn::SharedSecret) => format!("turn_shared_secret: {TURN_SECRET:?}\n"),
        Some(Turn::Fixed) => format!("turn_username: everyone\nturn_password: {TURN_SECRET:?}\n"),
    };
    let turn = options.turn.map(|_| format!("turn_uris: {TURN_URIS:?}\nturn_user_lifetime: 1h\n{believed}"));
    let turn = turn.unwrap_or_default();
    let services = synapse_services(&options.app_services);
    let config = directory.join("homeserver.yaml");
    let text = format!(
        "server_name: {SERVER_NAME}\npublic_baseurl: http://{address}/\npid_file: {path}/pid\nreport_stats: false\n\
         signing_key_path: {path}/signing.key\nmedia_store_path: {path}/media\nlog_config: {path}/log.yaml\n\
         listeners:\n  - {{port: {}, bind_addresses: ['127.0.0.1'], type: http, tls: false, x_forwarded: {limited}, resources: [{resources}]}}\n\
         database: {{name: sqlite3, args: {{database: '{path}/homeserver.db'}}}}\n{registration}presence: {{enabled: {}}}\n\
         enable_authenticated_media: {}\n{SYNAPSE_COMMON}{limits}{previews}{quota}{turn}{services}",
        address.port(),
        options.presence,
        !options.legacy_media
    );
    write(&config, &text)?;
    let mut command = Command::new(PathBuf::from(home).join("bin/python"));
    command.args(["-m", "synapse.app.homeserver", "--config-path"]).arg(config).current_dir(directory);
    Ok(command)
}

/// The line that names the registration files of application services, if there are any.
fn synapse_services(files: &[PathBuf]) -> String {
    if files.is_empty() { String::new() } else { format!("app_service_config_files: {files:?}\n") }
}

/// The limits of each kind that Synapse has. Of two lines for one of them it takes the last.
fn synapse_scarce() -> String {
    let few = format!("{{per_second: 0.02, burst_count: {SCARCE}}}");
    let kinds = [
        "message",
        "registration",
        "registration_token_validity",
        "room_creation",
        "media_create",
        "reports",
        "user_directory",
        "profile",
    ];
    let mut text = String::new();
    for kind in kinds {
        let _ = writeln!(text, "rc_{kind}: {few}");
    }
    let _ = write!(
        text,
        "rc_login: {{address: {few}, account: *free, failed_attempts: *free}}\n\
         rc_joins: {{local: {few}, remote: {few}}}\nrc_presence: {{per_user: {few}}}\n\
         rc_invites: {{per_room: {few}, per_user: {few}, per_issuer: {few}}}\n"
    );
    text
}

const SYNAPSE_LOG: &str = "version: 1
handlers: {console: {class: logging.StreamHandler}}
root: {level: WARNING, handlers: [console]}
disable_existing_loggers: false
";

/// What is not public but is no part of loopback that the cases use.
const SYNAPSE_PREVIEWS: &str = "
url_preview_enabled: true
url_preview_ip_range_whitelist: ['127.0.0.1/32']
url_preview_ip_range_blacklist: ['127.0.0.0/8', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16', '::1/128', 'fc00::/7', 'fe80::/10']
";

/// No limits of rate, a cheap password hash, no calls to the outside.
const SYNAPSE_COMMON: &str = "
macaroon_secret_key: tests-only
registration_shared_secret: tests-only
bcrypt_rounds: 4
suppress_key_server_warning: true
trusted_key_servers: []
federation_domain_whitelist: []
serve_server_wellknown: false
allow_public_rooms_without_auth: true
room_list_publication_rules: [{action: allow}]
max_upload_size: 4M
max_pending_media_uploads: 5
refreshable_access_token_lifetime: 5m
refresh_token_lifetime: 24h
nonrefreshable_access_token_lifetime: 24h
ui_auth: {session_timeout: 0}
ip_range_whitelist: ['127.0.0.0/8']
push: {group_unread_count_by_room: false}
password_config: {policy: {enabled: true, minimum_length: 8}}
login_via_existing_session: {enabled: true, require_ui_auth: true}
default_room_version: '12'
caches: {sync_response_cache_duration: 0}
rc_registration: &free {per_second: 100000, burst_count: 100000}
rc_registration_token_validity: *free
rc_admin_redaction: *free
rc_joins: {local: *free, remote: *free}
rc_joins_per_room: *free
rc_invites: {per_room: *free, per_user: *free, per_issuer: *free}
rc_3pid_validation: *free
rc_key_requests: *free
rc_room_creation: *free
rc_media_create: *free
rc_reports: *free
rc_delayed_event_mgmt: *free
rc_presence: {per_user: *free}
experimental_features: {msc4222_enabled: true, msc3266_enabled: true}
";

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{PathBuf, synapse_services};

    #[test]
    fn services_are_named_in_one_line_and_only_where_there_are_some() {
        assert_eq!(synapse_services(&[]), "");
        let files = ["/tmp/a.yaml", "/tmp/b.yaml"].map(PathBuf::from);
        assert_eq!(synapse_services(&files), "app_service_config_files: [\"/tmp/a.yaml\", \"/tmp/b.yaml\"]\n");
    }
}
