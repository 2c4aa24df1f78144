-- How a request was asked: empty in rows of proxies that do not say.
ALTER TABLE usage_events ADD COLUMN path TEXT NOT NULL DEFAULT '';
ALTER TABLE usage_events ADD COLUMN source_format TEXT NOT NULL DEFAULT '';
ALTER TABLE usage_events ADD COLUMN target_format TEXT NOT NULL DEFAULT '';
