package cluster

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/canonical/go-dqlite/client"
	dqlite "github.com/canonical/go-dqlite/driver"
)

// databaseName is that of the one database in dqlite.
const databaseName = "fabric"

// conn is a session with the database on its leader. It is for one goroutine, and no good any more after an error other than busy.
//
// database/sql is left out on purpose: it repeats statements by itself when a connection is lost, and ends transactions without a deadline.
type conn struct {
	raw      *dqlite.Conn
	socket   net.Conn
	leader   string // address
	database string // lineage of it
}

// openConn opens a session with the node at an address, which must be the leader.
func openConn(ctx context.Context, leader string, dial client.DialFunc, log client.LogFunc) (*conn, error) {
	c := &conn{leader: leader}
	remember := func(ctx context.Context, address string) (net.Conn, error) {
		socket, err := dial(ctx, address)
		c.socket = socket
		return socket, err
	}
	store := client.NewInmemNodeStore()
	if err := store.Set(ctx, []client.NodeInfo{{Address: leader}}); err != nil {
		return nil, err
	}
	d, err := dqlite.New(store, dqlite.WithDialFunc(remember), dqlite.WithLogFunc(log), dqlite.WithRetryLimit(1))
	if err != nil {
		return nil, err
	}
	connector, err := d.OpenConnector(databaseName)
	if err != nil {
		return nil, err
	}
	raw, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	c.raw = raw.(*dqlite.Conn)
	return c, nil
}

// goodFor tells whether the session is there, and with that database.
func (c *conn) goodFor(database string) bool { return c != nil && c.database == database }

func (c *conn) close() {
	if c != nil {
		c.raw.Close()
	}
}

// guard makes the end of ctx end whatever waits on the session: the driver itself waits without a deadline for long results.
func (c *conn) guard(ctx context.Context) (release func() bool) {
	return context.AfterFunc(ctx, func() { c.socket.Close() })
}

// exec runs statements. Only the first of them can have arguments.
func (c *conn) exec(ctx context.Context, statements string, args ...any) error {
	defer c.guard(ctx)()
	if _, err := c.raw.ExecContext(ctx, statements, named(args)); err != nil {
		return fmt.Errorf("%.40s…: %w", statements, err)
	}
	return nil
}

// query runs one statement and returns all its rows.
func (c *conn) query(ctx context.Context, statement string, args ...any) ([]record, error) {
	defer c.guard(ctx)()
	rows, err := c.raw.QueryContext(ctx, statement, named(args))
	if err != nil {
		return nil, fmt.Errorf("%.40s…: %w", statement, err)
	}
	defer rows.Close()
	var all []record
	for {
		values := make([]driver.Value, len(rows.Columns()))
		switch err := rows.Next(values); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("%.40s…: %w", statement, err)
		}
		all = append(all, values)
	}
}

// record is one row of a result.
type record []driver.Value

func (r record) number(i int) uint64 {
	n, _ := r[i].(int64) // NULL is 0
	return uint64(n)
}

func (r record) text(i int) string {
	s, _ := r[i].(string) // NULL is empty
	return s
}

func named(args []any) []driver.NamedValue {
	values := make([]driver.NamedValue, len(args))
	for i, a := range args {
		switch n := a.(type) {
		case uint64:
			a = int64(n)
		case int:
			a = int64(n)
		}
		values[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return values
}

// script collects the statements of one transaction so that as few requests as possible carry them.
type script struct {
	requests []statement
}

type statement struct {
	sql  string
	args []any
}

// add appends a statement. One without arguments rides along with the one before.
func (s *script) add(sql string, args ...any) {
	if n := len(s.requests); n > 0 && len(args) == 0 {
		s.requests[n-1].sql += "; " + sql
		return
	}
	s.requests = append(s.requests, statement{sql, args})
}

// inline is the script as one text without arguments; ok is false where there can't be one, or only a long one.
func (s *script) inline() (text string, ok bool) {
	var b strings.Builder
	for i, r := range s.requests {
		if i > 0 {
			b.WriteString("; ")
		}
		parts := strings.Split(r.sql, "?")
		if len(parts) != len(r.args)+1 {
			return "", false
		}
		for n, part := range parts {
			b.WriteString(part)
			if n == len(r.args) {
				break
			}
			v, ok := literal(r.args[n])
			if !ok {
				return "", false
			}
			b.WriteString(v)
		}
	}
	return b.String(), b.Len() <= maxInline
}

// maxInline is far below the length of a statement that SQLite takes (https://sqlite.org/limits.html), in bytes.
const maxInline = 256 << 10

// literal writes a value as SQL has it (https://sqlite.org/lang_expr.html, 2). A text ends at a zero byte, so one with such can't be written.
func literal(v any) (text string, ok bool) {
	switch v := v.(type) {
	case string:
		return "'" + strings.ReplaceAll(v, "'", "''") + "'", !strings.Contains(v, "\x00")
	case int:
		return strconv.Itoa(v), true
	case uint64:
		return strconv.FormatInt(int64(v), 10), true
	}
	return "", false
}

func (s *script) run(ctx context.Context, c *conn) error {
	for _, r := range s.requests {
		if err := c.exec(ctx, r.sql, r.args...); err != nil {
			return err
		}
	}
	return nil
}

// Result codes of SQLite that say more than "the connection is no good", https://sqlite.org/rescode.html.
const (
	sqliteBusy       = 5
	sqliteConstraint = 19
	primaryCode      = 0xff
)

// isBusy tells whether somebody else has the write lock. Trying again soon is all there is to do.
func isBusy(err error) bool { return hasCode(err, sqliteBusy) }

func isConstraint(err error) bool { return hasCode(err, sqliteConstraint) }

func hasCode(err error, code int) bool {
	var e dqlite.Error
	return errors.As(err, &e) && e.Code&primaryCode == code
}
