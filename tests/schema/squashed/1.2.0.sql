CREATE INDEX pinned_note ON note (pinned);
