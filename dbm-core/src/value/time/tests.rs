use super::{date_of, days_since_1970, spellings, stored};
use crate::error::Error;

fn form(text: &str) -> String {
    stored(text).unwrap().unwrap()
}

fn refusal(text: &str) -> String {
    match stored(text) {
        Some(Err(Error::Parameter { message, .. })) => message,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn every_spelling_of_a_moment_is_stored_in_one_form() {
    for text in [
        "2026-01-31T12:00:00.5Z",
        "2026-01-31T12:00:00.500+00:00",
        "2026-01-31T13:30:00.500000000+01:30",
        "2026-01-31 12:00:00.5 +00:00:00",
        "2026-01-30 12:00:01.5 -23:59:59",
        "2026-01-31T07:00:00.5-05:00[America/New_York]",
        "2026-01-31T12:00:00.5",
        "2026-01-31 12:00:00.5",
        "+2026-01-31T12:00:00.5Z",
        "002026-01-31T12:00:00.5Z",
    ] {
        assert_eq!(form(text), "2026-01-31 12:00:00.500000", "{text}");
    }
}

#[test]
fn an_offset_may_lead_into_another_day_month_or_year() {
    assert_eq!(
        form("2026-01-01T00:30:00+01:00"),
        "2025-12-31 23:30:00.000000"
    );
    assert_eq!(
        form("2024-02-28T23:30:00-01:00"),
        "2024-02-29 00:30:00.000000"
    );
    assert_eq!(
        form("2025-02-28T23:30:00-01:00"),
        "2025-03-01 00:30:00.000000"
    );
    assert_eq!(
        form("1969-12-31T23:59:59.999999Z"),
        "1969-12-31 23:59:59.999999"
    );
}

#[test]
fn what_is_less_than_a_microsecond_is_cut_off() {
    assert_eq!(
        form("2026-01-01T00:00:00.123456789Z"),
        "2026-01-01 00:00:00.123456"
    );
    assert_eq!(
        form("2026-01-01T00:00:00.999999999Z"),
        "2026-01-01 00:00:00.999999"
    );
    assert_eq!(
        form("2026-01-01T00:00:00.000001Z"),
        "2026-01-01 00:00:00.000001"
    );
}

#[test]
fn what_sqlite_cannot_hold_is_an_error() {
    for text in [
        "-0001-12-31T00:00:00Z",
        "+10000-01-01T00:00:00Z",
        "0000-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "-009999-01-02T01:59:59Z",
    ] {
        assert!(refusal(text).contains("0 to 9999"), "{text}");
    }
    assert!(refusal("2016-12-31T23:59:60Z").contains("leap second"));
    assert_eq!(form("0000-01-01T00:00:00Z"), "0000-01-01 00:00:00.000000");
    assert_eq!(
        form("9999-12-31T23:59:59.999999999Z"),
        "9999-12-31 23:59:59.999999"
    );
}

#[test]
fn what_is_no_date_with_a_time_is_none() {
    for text in [
        "",
        "2026-01-31",
        "12:00:00",
        "2026-01-31T12:00",
        "2026-01-31T12:00:00.",
        "2026-01-31T12:00:00.1234567890",
        "2026-01-31T12:00:00 ",
        "2026-01-31T12:00:00ZZ",
        "2026-01-31T12:00:00+01",
        "2026-01-31T12:00:00+01:0",
        "2026-01-31x12:00:00",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T+1:00:00Z",
        "2026-1-31T00:00:00Z",
        "226-01-31T00:00:00Z",
        "2026-01-31T00:00:0Ä",
        "２026-01-31T00:00:00Z",
    ] {
        assert!(stored(text).is_none(), "{text}");
        assert!(spellings(text).is_empty(), "{text}");
    }
}

#[test]
fn dates_are_those_of_the_gregorian_calendar() {
    assert_eq!(days_since_1970(1970, 1, 1), 0);
    assert_eq!(days_since_1970(2000, 3, 1), 11_017);
    assert_eq!(days_since_1970(0, 1, 1), -719_528);
    let mut before = date_of(-800_000);
    for day in -799_999..3_000_000 {
        let date = date_of(day);
        assert_eq!(days_since_1970(date.0, date.1, date.2), day);
        assert!(before < date);
        before = date;
    }
}

#[test]
fn only_the_stored_form_and_that_of_current_timestamp_have_other_spellings() {
    assert_eq!(spellings("2026-01-31 12:00:00")[0], "2026-01-31T12:00:00Z");
    assert_eq!(
        spellings("2026-01-31 12:00:00.123456")[0],
        "2026-01-31T12:00:00.123456Z"
    );
    for text in [
        "2026-01-31T12:00:00",
        "2026-01-31 12:00:00Z",
        "2026-01-31 12:00:00 +00:00",
    ] {
        assert!(spellings(text).is_empty(), "{text}");
    }
}
