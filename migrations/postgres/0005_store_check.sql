-- Written now and then by every replica: a database that only answers is no use when nothing can be stored in it.
CREATE TABLE store_check (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    at BIGINT NOT NULL
);
INSERT INTO store_check (id, at) VALUES (1, 0);
