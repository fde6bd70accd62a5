//! What only who runs the server can do: administrators and registration tokens. On Depesche by its command line, on
//! Synapse by its script and its admin API.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::server::{SERVER_NAME, Server, Target, target, unique};
use crate::user::PASSWORD;
use crate::{User, targets};

impl Server {
    /// A new administrator of the server, also where nobody may register.
    pub async fn admin(&self, name: &str) -> User {
        let name = unique(name);
        match target() {
            Target::Depesche => {
                let words = ["user", "create", &name, "--admin", "--password-stdin"];
                self.depesche_with(&words, PASSWORD);
            }
            Target::Synapse => self.register_on_synapse(&name),
        }
        let identifier = json!({ "type": "m.id.user", "user": name });
        let body = json!({ "type": "m.login.password", "password": PASSWORD, "identifier": identifier });
        let client = self.client();
        User::from_answer(&client, &client.post("/_matrix/client/v3/login", &[]).json(body).await.ok())
    }

    /// Suspends a user, or lifts it.
    pub async fn suspend(&self, user: &User, suspended: bool) {
        match target() {
            Target::Depesche => {
                self.depesche(&["user", if suspended { "suspend" } else { "unsuspend" }, &user.id]);
            }
            Target::Synapse => {
                let request = self.admin("admin").await.put("/_synapse/admin/v1/suspend/{user}", &[&user.id]);
                request.json(json!({ "suspend": suspended })).await.ok();
            }
        }
    }

    /// Locks a user, or unlocks it.
    pub async fn lock(&self, user: &User, locked: bool) {
        match target() {
            Target::Depesche => {
                self.depesche(&["user", if locked { "lock" } else { "unlock" }, &user.id]);
            }
            Target::Synapse => {
                let request = self.admin("admin").await.put("/_synapse/admin/v2/users/{user}", &[&user.id]);
                request.json(json!({ "locked": locked })).await.ok();
            }
        }
    }

    /// The ids of the files that a user uploaded, oldest first.
    pub async fn media_of(&self, user: &User) -> Vec<String> {
        let (list, id) = match target() {
            Target::Depesche => (self.depesche_json(&["media", "list", &user.id]), "id"),
            Target::Synapse => {
                let request = self.admin("admin").await.get("/_synapse/admin/v1/users/{user}/media", &[&user.id]);
                (request.query(&[("order_by", "created_ts"), ("dir", "f")]).await.ok(), "media_id")
            }
        };
        let files = list["media"].as_array().expect("a list").iter();
        files.map(|file| file[id].as_str().expect("an id").to_owned()).collect()
    }

    /// Deletes a file of this server.
    pub async fn delete_media(&self, id: &str) {
        match target() {
            Target::Depesche => {
                let address = format!("mxc://{SERVER_NAME}/{id}");
                self.depesche(&["media", "delete", &address]);
            }
            Target::Synapse => {
                let path = "/_synapse/admin/v1/media/{server}/{id}";
                self.admin("admin").await.delete(path, &[SERVER_NAME, id]).await.ok();
            }
        }
    }

    /// A registration token for so many uses.
    pub async fn registration_token(&self, uses: u32) -> String {
        match target() {
            Target::Depesche => self.depesche(&["token", "create", "--uses", &uses.to_string()]).trim().to_owned(),
            Target::Synapse => {
                let admin = self.admin("admin").await;
                let request = admin.post("/_synapse/admin/v1/registration_tokens/new", &[]);
                let made = request.json(json!({ "uses_allowed": uses })).await.ok();
                made["token"].as_str().expect("a token").to_owned()
            }
        }
    }

    /// The output of a command of Depesche's, which must succeed.
    pub fn depesche(&self, words: &[&str]) -> String {
        self.depesche_with(words, "")
    }

    /// The answer of a command of Depesche's in JSON.
    pub fn depesche_json(&self, words: &[&str]) -> Value {
        let text = self.depesche(&[words, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words:?} printed no JSON ({error}): {text}"))
    }

    fn depesche_with(&self, words: &[&str], input: &str) -> String {
        let mut command = Command::new(targets::binary().unwrap_or_else(|error| panic!("{error}")));
        command.arg("--config").arg(self.directory.join(targets::DEPESCHE_CONFIG)).args(words);
        run(command, input)
    }

    fn register_on_synapse(&self, name: &str) {
        let home = std::env::var_os("DEPESCHE_SYNAPSE").expect("the target needs it too");
        let mut command = Command::new(std::path::Path::new(&home).join("bin/register_new_matrix_user"));
        command.args(["--admin", "-u", name, "-p", PASSWORD, "-k", targets::SYNAPSE_SECRET]);
        command.arg(format!("http://{}", self.address()));
        run(command, "");
    }
}

/// Runs a command to its successful end.
fn run(mut command: Command, input: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("a short input fits into the pipe");
    drop(stdin);
    let output = child.wait_with_output().expect("the output can be read");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
