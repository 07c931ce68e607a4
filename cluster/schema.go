package cluster

import "context"

// schemaVersion is that of the tables below. A database with a higher one was made by a newer program and is left alone.
const schemaVersion = 1

// schema makes the tables. It runs once, when the cluster is bootstrapped.
var schema = []string{
	// objects is what operators want. A deleted row is a tombstone: it tells members that missed the deletion.
	`CREATE TABLE objects (kind TEXT NOT NULL, name TEXT NOT NULL, revision INTEGER NOT NULL, deleted INTEGER NOT NULL, spec TEXT NOT NULL,
		PRIMARY KEY (kind, name)) WITHOUT ROWID`,
	`CREATE INDEX objects_revision ON objects (revision)`,
	// claims is the second line of defence against two owners of one thing; the first is the check in the transaction.
	`CREATE TABLE claims (space TEXT NOT NULL, value TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
		PRIMARY KEY (space, value)) WITHOUT ROWID`,
	`CREATE INDEX claims_object ON claims (kind, name)`,
	// meta has one row. Tombstones up to the floors are gone: who knows less reads everything anew. The count of writes is what every
	// transaction touches first, to have the write lock before it reads.
	`CREATE TABLE meta (version INTEGER NOT NULL, writes INTEGER NOT NULL, revision INTEGER NOT NULL, floor INTEGER NOT NULL,
		counter INTEGER NOT NULL, status_floor INTEGER NOT NULL)`,
	// applied has the last batch of each member's writer, so that it can find out what became of a commit whose answer was lost. The writer
	// is the member's node id, which is never used again.
	`CREATE TABLE applied (writer INTEGER PRIMARY KEY, batch INTEGER NOT NULL)`,
	// conditions is what members say, with tombstones and a counter of its own: it changes often and nothing else should notice.
	`CREATE TABLE conditions (object TEXT NOT NULL, member TEXT NOT NULL, type TEXT NOT NULL, detail TEXT NOT NULL, counter INTEGER NOT NULL,
		deleted INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (object, member, type, detail)) WITHOUT ROWID`,
	`CREATE INDEX conditions_counter ON conditions (counter)`,
	`CREATE TABLE lease (name TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, term INTEGER NOT NULL, beat INTEGER NOT NULL) WITHOUT ROWID`,
	`CREATE TABLE beats (member TEXT NOT NULL PRIMARY KEY, beat INTEGER NOT NULL) WITHOUT ROWID`,
}

// createSchema makes the tables of a new database.
func createSchema(ctx context.Context, c *conn) error {
	if err := c.exec(ctx, "BEGIN"); err != nil {
		return err
	}
	for _, statement := range schema {
		if err := c.exec(ctx, statement); err != nil {
			return err
		}
	}
	if err := c.exec(ctx, "INSERT INTO meta VALUES (?, 0, 0, 0, 0, 0)", schemaVersion); err != nil {
		return err
	}
	return c.exec(ctx, "COMMIT")
}
