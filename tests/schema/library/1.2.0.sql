-- Windows wrote this one: a mark at its begin, and two signs at the end of a line.
ALTER TABLE book ADD COLUMN pages INTEGER;
INSERT INTO step (name) VALUES ('1.2.0');
CREATE TRIGGER no_page AFTER INSERT ON book WHEN new.pages = 0 BEGIN
    UPDATE book SET pages = NULL WHERE id = new.id;
END;
