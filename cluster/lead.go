package cluster

import (
	"context"
	"sync"
	"time"

	"netfabric/fabric"
)

// fence binds writes to a lease: they are refused once somebody else has it.
type fence struct {
	name, holder string
	term         uint64
}

type fenceKey struct{}

// check looks in the transaction whether the lease is still held; lost is the answer to give if not.
func (f *fence) check(ctx context.Context, c *conn) (lost, err error) {
	row, err := readLease(ctx, c, f.name)
	if err != nil || row.holder == f.holder && row.term == f.term {
		return nil, err
	}
	return fabric.Errorf(fabric.CodeStale, "lease-lost", "write to the database: the lease %q of term %d was lost", f.name, f.term), nil
}

func readLease(ctx context.Context, c *conn, name string) (leaseRow, error) {
	rows, err := c.query(ctx, "SELECT holder, term, beat FROM lease WHERE name = ?", name)
	if err != nil || len(rows) == 0 {
		return leaseRow{}, err
	}
	return leaseRow{rows[0].text(0), rows[0].number(1), rows[0].number(2)}, nil
}

// Lead runs work on one member of the cluster at a time, until ctx ends. On the member that has the lease of that name, work is called with
// a context that ends when the lease is lost and with the term, which is higher each time. Writes made with that context are refused once
// another member has the lease. When work returns while the lease is held, it is called again after a pause.
func (n *Node) Lead(ctx context.Context, name string, work func(ctx context.Context, term uint64)) {
	d := &leader{store: n.store, name: name, work: work}
	d.lease.self = n.self()
	d.run(ctx)
}

// leader drives the lease machine against the database.
type leader struct {
	*store
	name  string
	work  func(context.Context, uint64)
	lease lease

	stop context.CancelFunc // of the work that runs
	done sync.WaitGroup
}

func (d *leader) run(ctx context.Context) {
	defer d.release(ctx)
	for {
		select {
		case <-time.After(time.Until(d.lease.deadline())):
		case <-ctx.Done():
			return
		}
		if self := d.self(); self == "" || self != d.lease.self { // in no cluster, or in it under a name from now on
			d.quit()
			d.lease = lease{self: self, look: time.Now().Add(leaseRenew)}
			continue
		}
		switch action := d.lease.expire(time.Now()); action {
		case leaseNothing:
		case leaseQuit:
			d.quit()
		default:
			d.act(ctx, action)
		}
	}
}

func (d *leader) act(ctx context.Context, action leaseAction) {
	begun := time.Now()
	deadline := begun.Add(leaseRenew)
	if d.lease.leads {
		deadline = d.lease.good.Add(leaseStop)
	}
	once, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	old := d.lease.row
	var row leaseRow
	run := d.store.run
	if action == leaseRead {
		run = d.store.runAlone
	}
	err := run(once, func(ctx context.Context, c *conn) (err error) {
		row, err = d.touch(ctx, c, action, old)
		return err
	})
	if err != nil {
		d.lease.missed(time.Now())
		return
	}
	switch begin, end := d.lease.saw(begun, time.Now(), row, action); {
	case begin:
		d.begin(ctx, row.term)
	case end:
		d.quit()
	}
}

// touch does what the machine wants done to the row, and reads how it is then.
func (d *leader) touch(ctx context.Context, c *conn, action leaseAction, old leaseRow) (leaseRow, error) {
	self := d.lease.self
	var err error
	switch action {
	case leaseClaim:
		if err = c.exec(ctx, "INSERT OR IGNORE INTO lease (name, holder, term, beat) VALUES (?, '', 0, 0)", d.name); err == nil {
			err = c.exec(ctx, "UPDATE lease SET holder = ?, term = term + 1, beat = 1 WHERE name = ? AND holder = ? AND term = ? AND beat = ?",
				self, d.name, old.holder, old.term, old.beat)
		}
	case leaseBeat:
		err = c.exec(ctx, "UPDATE lease SET beat = beat + 1 WHERE name = ? AND holder = ? AND term = ?", d.name, self, old.term)
	}
	if err != nil {
		return leaseRow{}, err
	}
	return readLease(ctx, c, d.name)
}

func (d *leader) begin(ctx context.Context, term uint64) {
	d.log.Info("leading", "lease", d.name, "term", term)
	work, stop := context.WithCancel(context.WithValue(ctx, fenceKey{}, &fence{d.name, d.lease.self, term}))
	d.stop = stop
	d.done.Go(func() {
		for work.Err() == nil {
			d.work(work, term)
			select {
			case <-time.After(leaseRenew):
			case <-work.Done():
			}
		}
	})
}

func (d *leader) quit() {
	if d.stop == nil {
		return
	}
	d.stop()
	d.done.Wait()
	d.stop = nil
	d.log.Info("no longer leading", "lease", d.name)
}

// release ends the work and gives the lease back, so that nobody has to wait for it.
func (d *leader) release(ctx context.Context) {
	d.quit()
	if !d.lease.leads {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseRenew)
	defer cancel()
	err := d.store.run(ctx, func(ctx context.Context, c *conn) error {
		return c.exec(ctx, "UPDATE lease SET holder = '' WHERE name = ? AND holder = ? AND term = ?", d.name, d.lease.self, d.lease.row.term)
	})
	if err != nil {
		d.log.Debug("lease not given back", "lease", d.name, "error", err)
	}
}
