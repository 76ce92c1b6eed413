//! Reads the settings one by one and collects every problem.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use delivery::address::without_channel;
use delivery::codes::Codes;
use delivery::message::SenderName;
use delivery::sid::Sid;
use url::Url;

use super::environment::Environment;
use super::parsed::{Config, Credentials, DatabaseConfig, KeySource, Mode, SANDBOX, SenderRate};
use super::settings::SETTINGS;
use crate::secrets::{MasterKey, Secret};

/// The fewest days for which messages can be kept.
const KEEP_DAYS_MIN: u32 = 8;

pub(super) struct Reader<'a> {
    environment: &'a dyn Environment,
    pub(super) problems: Vec<String>,
    mode: Mode,
}

impl<'a> Reader<'a> {
    pub(super) fn new(environment: &'a dyn Environment) -> Self {
        let mut reader = Self {
            environment,
            problems: Vec::new(),
            mode: Mode::Production,
        };
        reader.mode = reader.read_mode();
        reader
    }

    pub(super) fn config(&mut self) -> Option<Config> {
        let mode = self.mode;
        let database = self.database();
        let bind = self.parsed("BIND_ADDRESS", "an IP address such as 127.0.0.1 or 0.0.0.0");
        let port = self.parsed("PORT", "a port number from 0 to 65535");
        let account_sid = self.account_sid();
        let (credentials, signing_tokens) = self.credentials();
        let (senders, messaging_service) = self.senders();
        let api_base_url = self.base_url();
        let webhook_url = self.callback_url("WEBHOOK_URL");
        let status_callback_url = self.callback_url("STATUS_CALLBACK_URL");
        let sender_rate = self.sender_rate();
        let person_interval = self.seconds("RECADO_PERSON_SECONDS");
        let clock_scale = self.clock_scale();
        let api_rate = self.parsed("RECADO_API_RATE", "a whole number of requests per second");
        let dedupe_window = self.seconds("RECADO_DEDUPE_SECONDS");
        let keep = self.read_keep();
        self.check_kept(keep, dedupe_window);
        let drain = self.seconds("RECADO_DRAIN_SECONDS");
        let connections_max = self
            .parsed::<NonZeroU32>("RECADO_CONNECTIONS_MAX", "a whole number from 1")
            .map(NonZeroU32::get);
        let codes = self.codes();
        self.check_log();
        Some(Config {
            mode,
            database: database?,
            bind: bind?,
            port: port?,
            account_sid: account_sid?,
            credentials: credentials?,
            signing_tokens,
            senders,
            messaging_service,
            api_base_url: api_base_url?,
            webhook_url,
            status_callback_url,
            sender_rate: sender_rate?,
            person_interval: person_interval?,
            clock_scale: clock_scale?,
            api_rate: api_rate?,
            dedupe_window: dedupe_window?,
            keep,
            drain: drain?,
            connections_max: connections_max?,
            codes: codes?,
        })
    }

    /// The value of a setting: the variable itself, else the content of the file that the
    /// variable with `_FILE` names, else the default.
    fn value(&mut self, name: &str) -> Option<String> {
        if let Some(value) = self.environment.variable(name) {
            return Some(value);
        }
        let file_name = format!("{name}_FILE");
        if let Some(path) = self.environment.variable(&file_name) {
            match self.environment.file(&path) {
                Ok(text) => return Some(text.trim_end_matches(['\n', '\r']).to_owned()),
                Err(error) => {
                    self.problems
                        .push(format!("{file_name}: {path} cannot be read: {error}"));
                    return None;
                }
            }
        }
        SETTINGS
            .iter()
            .find(|setting| setting.name == name)
            .and_then(|setting| setting.default.map(str::to_owned))
    }

    fn parsed<T: std::str::FromStr>(&mut self, name: &str, wanted: &str) -> Option<T> {
        let value = self.value(name)?;
        match value.trim().parse() {
            Ok(parsed) => Some(parsed),
            Err(_) => {
                self.problems
                    .push(format!("{name}: `{value}` is not {wanted}"));
                None
            }
        }
    }

    fn seconds(&mut self, name: &str) -> Option<Duration> {
        self.parsed(name, "a whole number of seconds")
            .map(Duration::from_secs)
    }

    /// A message that is removed can be repeated by nobody's notice.
    fn check_kept(&mut self, keep: Option<Duration>, dedupe_window: Option<Duration>) {
        if let (Some(keep), Some(window)) = (keep, dedupe_window)
            && window > keep
        {
            self.problems.push(format!(
                "RECADO_DEDUPE_SECONDS: {} seconds are longer than messages are kept \
                 (RECADO_KEEP_DAYS: {} days); repetitions are recognized among kept messages",
                window.as_secs(),
                keep.as_secs() / (24 * 3_600)
            ));
        }
    }

    /// The provider may be asked about a message for a week.
    fn read_keep(&mut self) -> Option<Duration> {
        let text = self.value("RECADO_KEEP_DAYS")?;
        match text.parse::<u32>() {
            Ok(days) if days >= KEEP_DAYS_MIN => {
                Some(Duration::from_secs(u64::from(days) * 24 * 3_600))
            }
            _ => {
                self.problems.push(format!(
                    "RECADO_KEEP_DAYS: `{text}` is not a whole number of days from {KEEP_DAYS_MIN} on"
                ));
                None
            }
        }
    }

    fn read_mode(&mut self) -> Mode {
        match self.value("RECADO_ENV").as_deref() {
            Some("production") => Mode::Production,
            Some("development") | None => Mode::Development,
            Some(other) => {
                self.problems.push(format!(
                    "RECADO_ENV: `{other}` is not known; write development or production"
                ));
                Mode::Production
            }
        }
    }

    pub(super) fn database(&mut self) -> Option<DatabaseConfig> {
        let url = self.value("DATABASE_URL")?;
        let path = match url.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() && path != "//" => {
                Some(PathBuf::from(path.strip_prefix("//").unwrap_or(path)))
            }
            _ => {
                self.problems.push(
                    "DATABASE_URL: write sqlite:PATH, for example \
                     sqlite:/var/lib/recado/recado.db"
                        .to_owned(),
                );
                None
            }
        };
        let key = match self.value("RECADO_MASTER_KEY") {
            Some(text) => match MasterKey::parse(&text) {
                Ok(key) => Some(KeySource::Given(key)),
                Err(error) => {
                    self.problems.push(format!("RECADO_MASTER_KEY: {error}"));
                    None
                }
            },
            None if self.mode == Mode::Production => {
                self.problems.push(
                    "RECADO_MASTER_KEY: production needs a master key; make one with `openssl \
                     rand -base64 32` and keep a copy outside this machine"
                        .to_owned(),
                );
                None
            }
            None => Some(KeySource::BesideDatabase),
        };
        Some(DatabaseConfig {
            path: path?,
            key: key?,
        })
    }

    fn account_sid(&mut self) -> Option<String> {
        let value = self.required(
            "TWILIO_ACCOUNT_SID",
            "the account SID from Twilio's console",
        )?;
        if Sid::parse(&value, &["AC"]).is_err() {
            self.problems.push(
                "TWILIO_ACCOUNT_SID: an account SID is AC and 32 hexadecimal digits".to_owned(),
            );
            return None;
        }
        Some(value)
    }

    fn required(&mut self, name: &str, what: &str) -> Option<String> {
        let value = self.value(name);
        if value.is_none() {
            self.problems
                .push(format!("{name}: missing; set it to {what}"));
        }
        value
    }

    fn credentials(&mut self) -> (Option<Credentials>, Vec<Secret>) {
        let token = self.required(
            "TWILIO_AUTH_TOKEN",
            "the auth token from Twilio's console; it verifies callbacks even when an API key sends",
        );
        let secondary = self.value("TWILIO_AUTH_TOKEN_SECONDARY");
        for (name, token) in [
            ("TWILIO_AUTH_TOKEN", &token),
            ("TWILIO_AUTH_TOKEN_SECONDARY", &secondary),
        ] {
            if token.as_ref().is_some_and(|token| token.len() < 32) {
                self.refuse(&format!("{name}: an auth token has 32 characters"));
            }
        }
        let tokens: Vec<Secret> = [token, secondary]
            .into_iter()
            .flatten()
            .map(Secret::new)
            .collect();
        let key_sid = self.value("TWILIO_API_KEY_SID");
        let key_secret = self.value("TWILIO_API_KEY_SECRET");
        let credentials = match (key_sid, key_secret) {
            (Some(sid), Some(_)) if Sid::parse(&sid, &["SK"]).is_err() => {
                self.problems.push(
                    "TWILIO_API_KEY_SID: an API key SID is SK and 32 hexadecimal digits".to_owned(),
                );
                None
            }
            (Some(sid), Some(secret)) => {
                if secret.len() < 20 {
                    self.refuse("TWILIO_API_KEY_SECRET: it is too short to be a secret");
                }
                Some(Credentials::ApiKey {
                    sid,
                    secret: Secret::new(secret),
                })
            }
            (None, None) => tokens.first().cloned().map(Credentials::AuthToken),
            _ => {
                self.problems.push(
                    "TWILIO_API_KEY_SID and TWILIO_API_KEY_SECRET go together: set both or neither"
                        .to_owned(),
                );
                None
            }
        };
        (credentials, tokens)
    }

    fn senders(&mut self) -> (Vec<SenderName>, Option<Sid>) {
        let mut senders = Vec::new();
        for name in self
            .value("TWILIO_WHATSAPP_FROM")
            .unwrap_or_default()
            .split(',')
        {
            let name = name.trim();
            let number = without_channel(name);
            let digits = number.strip_prefix('+').unwrap_or_default();
            if number.is_empty() {
                continue;
            }
            if digits.len() < 8 || digits.len() > 15 || !digits.bytes().all(|b| b.is_ascii_digit())
            {
                self.problems.push(format!(
                    "TWILIO_WHATSAPP_FROM: `{name}` is not a number in E.164, for example \
                     +551140000000"
                ));
            } else {
                if number == SANDBOX {
                    self.refuse(
                        "TWILIO_WHATSAPP_FROM: +14155238886 is Twilio's shared sandbox; \
                         production needs a sender of your own",
                    );
                }
                senders.push(SenderName::new(number));
            }
        }
        let service = self.value("TWILIO_MESSAGING_SERVICE_SID").and_then(|sid| {
            Sid::parse(&sid, &["MG"])
                .map_err(|_| {
                    self.problems.push(
                        "TWILIO_MESSAGING_SERVICE_SID: it is MG and 32 hexadecimal digits".into(),
                    );
                })
                .ok()
        });
        if senders.is_empty() {
            match service {
                Some(service) => senders.push(SenderName::new(service.to_string())),
                None => self.problems.push(
                    "TWILIO_WHATSAPP_FROM: missing; set it to your WhatsApp sender in E.164 (or \
                     set TWILIO_MESSAGING_SERVICE_SID)"
                        .to_owned(),
                ),
            }
        }
        (senders, service)
    }

    fn base_url(&mut self) -> Option<String> {
        let text = self.value("TWILIO_API_BASE_URL")?;
        match Url::parse(&text) {
            Ok(url)
                if matches!(url.scheme(), "http" | "https")
                    && url.has_host()
                    && url.query().is_none()
                    && url.path() == "/" =>
            {
                if !is_twilio(&url) {
                    self.refuse(
                        "TWILIO_API_BASE_URL: production talks to https://api.twilio.com (or \
                         another twilio.com host), never to a simulator",
                    );
                }
                Some(text.trim_end_matches('/').to_owned())
            }
            _ => {
                self.problems.push(format!(
                    "TWILIO_API_BASE_URL: `{text}` is not a base URL such as \
                     https://api.twilio.com"
                ));
                None
            }
        }
    }

    fn callback_url(&mut self, name: &str) -> Option<String> {
        let Some(text) = self.value(name) else {
            self.refuse(&format!(
                "{name}: missing; production needs the public https URL that Twilio calls"
            ));
            return None;
        };
        if !text.starts_with("https://") {
            self.refuse(&format!(
                "{name}: production needs https, this is {}",
                scheme(&text)
            ));
        }
        let fits = Url::parse(&text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.host_str().is_some_and(|host| !host.contains('_'))
        });
        if !fits {
            self.problems.push(format!(
                "{name}: `{text}` is not a public URL such as \
                 https://recado.example.com/api/v1/whatsapp/status (no user name, no underscore \
                 in the host)"
            ));
            return None;
        }
        Some(text)
    }

    fn clock_scale(&mut self) -> Option<u32> {
        let scale: u32 = self.parsed("RECADO_CLOCK_SCALE", "a whole number from 1")?;
        if scale == 0 {
            self.problems
                .push("RECADO_CLOCK_SCALE: it is a whole number from 1".to_owned());
        }
        if scale != 1 {
            self.refuse("RECADO_CLOCK_SCALE: it is for tests; leave it out in production");
        }
        Some(scale)
    }

    /// Names a problem that only production has.
    fn refuse(&mut self, problem: &str) {
        if self.mode == Mode::Production {
            self.problems.push(problem.to_owned());
        }
    }

    fn sender_rate(&mut self) -> Option<SenderRate> {
        if self.value("RECADO_SENDER_RATE").is_none() {
            return Some(SenderRate::Default);
        }
        let rate: f64 = self.parsed("RECADO_SENDER_RATE", "a number of messages per second")?;
        if rate == 0.0 {
            Some(SenderRate::Unlimited)
        } else if rate > 0.0 && rate.is_finite() {
            Some(SenderRate::PerSecond(rate))
        } else {
            self.problems
                .push("RECADO_SENDER_RATE: it cannot be negative".to_owned());
            None
        }
    }

    /// The log is started before the settings are read; here they are only checked.
    fn check_log(&mut self) {
        let filter = self.value("RECADO_LOG").unwrap_or_default();
        if tracing_subscriber::EnvFilter::try_new(&filter).is_err() {
            self.problems.push(format!(
                "RECADO_LOG: `{filter}` is not a level such as info, or a filter such as \
                 recado::dispatch=debug"
            ));
        }
        let format = self.value("RECADO_LOG_FORMAT").unwrap_or_default();
        if !matches!(format.as_str(), "text" | "json") {
            self.problems
                .push(format!("RECADO_LOG_FORMAT: `{format}` is not text or json"));
        }
    }

    fn codes(&mut self) -> Option<Codes> {
        let builtin = Codes::builtin();
        let Some(path) = self.value("RECADO_ERROR_CODES") else {
            return Some(builtin);
        };
        let text = match self.environment.file(&path) {
            Ok(text) => text,
            Err(error) => {
                self.problems.push(format!(
                    "RECADO_ERROR_CODES: {path} cannot be read: {error}"
                ));
                return None;
            }
        };
        match builtin.overridden(&text) {
            Ok(codes) => Some(codes),
            Err(problems) => {
                self.problems.extend(problems.into_iter().map(|problem| {
                    format!(
                        "RECADO_ERROR_CODES: {path}:{}: {}",
                        problem.line, problem.problem
                    )
                }));
                None
            }
        }
    }
}

/// Whether a URL belongs to Twilio itself.
fn is_twilio(url: &Url) -> bool {
    url.scheme() == "https"
        && url
            .host_str()
            .is_some_and(|host| host == "twilio.com" || host.ends_with(".twilio.com"))
}

fn scheme(url: &str) -> &str {
    url.split(':').next().unwrap_or_default()
}
