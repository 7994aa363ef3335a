-- A claim belongs to a connection of a process, not only to a user.
ALTER TABLE claims ADD COLUMN holder TEXT NOT NULL DEFAULT '';
