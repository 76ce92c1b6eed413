//! The list of settings: what `docs/configuration.md` says and what is read must be this list.

/// One setting.
pub struct Setting {
    /// The name of its variable; with `_FILE` appended, a file that holds the value.
    pub name: &'static str,
    /// Its value when it is not set.
    pub default: Option<&'static str>,
    /// What it means.
    pub about: &'static str,
}

/// Every setting, in the order of the documentation.
pub const SETTINGS: &[Setting] = &[
    setting(
        "RECADO_ENV",
        Some("development"),
        "`development` or `production`. Production refuses unsafe settings.",
    ),
    setting(
        "DATABASE_URL",
        Some("sqlite:recado.db"),
        "Where the database is: `sqlite:PATH`.",
    ),
    setting(
        "RECADO_MASTER_KEY",
        None,
        "32 random bytes in base64 or hexadecimal: the key that wraps all others. Required in production; in development one is created beside the database.",
    ),
    setting(
        "BIND_ADDRESS",
        Some("127.0.0.1"),
        "IP address to listen on.",
    ),
    setting(
        "PORT",
        Some("8080"),
        "Port to listen on; 0 picks a free one.",
    ),
    setting("TWILIO_ACCOUNT_SID", None, "Account SID (`AC…`). Required."),
    setting(
        "TWILIO_AUTH_TOKEN",
        None,
        "Primary auth token. It verifies callbacks, and sends when there is no API key. Required.",
    ),
    setting(
        "TWILIO_AUTH_TOKEN_SECONDARY",
        None,
        "The other token during rotation: callbacks signed with it are accepted too.",
    ),
    setting(
        "TWILIO_API_KEY_SID",
        None,
        "API key (`SK…`) to send with instead of the auth token.",
    ),
    setting("TWILIO_API_KEY_SECRET", None, "The secret of that API key."),
    setting(
        "TWILIO_WHATSAPP_FROM",
        None,
        "Your WhatsApp senders in E.164, separated by commas. Required unless there is a Messaging Service.",
    ),
    setting(
        "TWILIO_MESSAGING_SERVICE_SID",
        None,
        "Messaging Service (`MG…`) to send through; with senders given as well, they stay the senders.",
    ),
    setting(
        "TWILIO_API_BASE_URL",
        Some("https://api.twilio.com"),
        "Where Twilio's API is; a simulator in development.",
    ),
    setting(
        "WEBHOOK_URL",
        None,
        "Public URL of `/api/v1/whatsapp/webhook` exactly as entered at Twilio, what follows `#` aside; signatures cover it. `recado serve --check` prints it as it must stand in the console. Required in production.",
    ),
    setting(
        "STATUS_CALLBACK_URL",
        None,
        "Public URL of `/api/v1/whatsapp/status`; given to Twilio with each message. After a change, messages under way may be reported to the earlier URL for 30 days. Required in production.",
    ),
    setting(
        "RECADO_SENDER_RATE",
        None,
        "Messages per second and sender; 0 for no limit. Default 80, and 1 in 3 seconds for the sandbox number.",
    ),
    setting(
        "RECADO_PERSON_SECONDS",
        Some("6"),
        "Seconds between messages to one person after a burst of five; 0 for no limit.",
    ),
    setting(
        "RECADO_API_RATE",
        Some("20000"),
        "Requests per second of one API key; 0 for no limit.",
    ),
    setting(
        "RECADO_CONNECTIONS_MAX",
        Some("4096"),
        "Connections that may be open at once; fewer when the system allows the process too few open files.",
    ),
    setting(
        "RECADO_DEDUPE_SECONDS",
        Some("600"),
        "Within this many seconds the same content to the same person is refused; not longer than `RECADO_KEEP_DAYS`.",
    ),
    setting(
        "RECADO_KEEP_DAYS",
        None,
        "Days after which messages to which nothing happens any more are removed with all that belongs to them, and inbound messages too; at least 8. Default: everything is kept.",
    ),
    setting(
        "RECADO_DRAIN_SECONDS",
        Some("25"),
        "How long open requests may take to finish after SIGTERM.",
    ),
    setting(
        "RECADO_ERROR_CODES",
        None,
        "A CSV file (`code,action,scope,wait_seconds,attempts_max`) that overrides rows of the error table.",
    ),
    setting(
        "RECADO_CLOCK_SCALE",
        Some("1"),
        "Divides the waiting times of retry and reconcile. For tests; refused in production.",
    ),
    setting(
        "RECADO_LOG",
        Some("info"),
        "What to log: `error`, `warn`, `info`, `debug`, or a filter such as `recado::dispatch=debug`.",
    ),
    setting("RECADO_LOG_FORMAT", Some("text"), "`text` or `json`."),
    setting(
        "RECADO_URL",
        Some("http://127.0.0.1:8080"),
        "Where `recado send` and `recado messages` find the server.",
    ),
    setting(
        "RECADO_API_KEY",
        None,
        "The key that `recado send` and `recado messages` use.",
    ),
];

const fn setting(
    name: &'static str,
    default: Option<&'static str>,
    about: &'static str,
) -> Setting {
    Setting {
        name,
        default,
        about,
    }
}
