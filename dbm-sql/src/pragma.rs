//! Which PRAGMAs a body or a migration may use.

/// Whether the PRAGMA only reads, or a rollback undoes its effect.
pub(crate) fn is_harmless(name: &str, value: Option<&str>) -> bool {
    const WITH_ARGUMENT: &[&str] = &[
        "table_info",
        "table_xinfo",
        "table_list",
        "index_list",
        "index_info",
        "index_xinfo",
        "foreign_key_list",
        "foreign_key_check",
        "integrity_check",
        "quick_check",
        "user_version",
        "application_id",
    ];
    const WITHOUT_VALUE: &[&str] = &[
        "application_id",
        "auto_vacuum",
        "busy_timeout",
        "cache_size",
        "collation_list",
        "compile_options",
        "data_version",
        "database_list",
        "defer_foreign_keys",
        "encoding",
        "foreign_keys",
        "freelist_count",
        "function_list",
        "journal_mode",
        "journal_size_limit",
        "max_page_count",
        "mmap_size",
        "module_list",
        "page_count",
        "page_size",
        "pragma_list",
        "query_only",
        "recursive_triggers",
        "schema_version",
        "secure_delete",
        "synchronous",
        "temp_store",
        "user_version",
        "wal_autocheckpoint",
    ];
    let is = |known: &&str| known.eq_ignore_ascii_case(name);
    let on = |value: &str| {
        ["on", "true", "yes", "1"]
            .iter()
            .any(|word| word.eq_ignore_ascii_case(value))
    };
    match value {
        _ if WITH_ARGUMENT.iter().any(is) => true,
        None => WITHOUT_VALUE.iter().any(is),
        // OFF would make SQLite forget pending violations: sqlite.org/pragma.html#pragma_defer_foreign_keys.
        Some(value) => name.eq_ignore_ascii_case("defer_foreign_keys") && on(value),
    }
}

/// The PRAGMAs that generated migrations put around their statements. The first one has no effect inside a transaction
/// (sqlite.org/pragma.html#pragma_foreign_keys). The second one has nothing to forget while foreign keys are off. The
/// third one is undone after the migration.
pub(crate) fn is_for_migrations(name: &str) -> bool {
    ["foreign_keys", "defer_foreign_keys", "legacy_alter_table"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}
