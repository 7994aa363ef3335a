ALTER TABLE results DROP COLUMN related_id;
