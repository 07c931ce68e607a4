// What stands between Debian 12's libdqlite (1.11) and libraft (0.15), so that a leadership transfer does not end the process.
//
// libdqlite finds these functions before those of libraft because the program comes first in the order in which symbols are looked up. Newer
// releases of the libraries need none of this.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <raft.h>
#include <stdlib.h>

struct lasting_transfer {
	struct raft_transfer transfer;
	struct raft_transfer *caller; // freed by its callback
};

static void lasting_transfer_cb(struct raft_transfer *transfer)
{
	struct raft_transfer *caller = ((struct lasting_transfer *)transfer)->caller;
	caller->cb(caller);
}

// raft_transfer gives the transfer memory of its own, which is never freed.
//
// libraft tells the heir to take over with a message whose request is part of the struct raft_transfer, and libdqlite frees that struct as soon as
// the transfer is over, after an election timeout at the latest. A message to an heir that does not read, or not yet, waits for longer than that.
// When it is written, or given up because the heir died or this node stops, libraft looks for its callback in the memory that was freed, and jumps
// to whatever is there (canonical/raft#396). Nobody tells when the message is done with, hence the leak: some 60 bytes for each transfer, of which
// a node makes a few in its life, when it hands over before it stops.
int raft_transfer(struct raft *r, struct raft_transfer *req, raft_id id, raft_transfer_cb cb)
{
	int (*next)(struct raft *, struct raft_transfer *, raft_id, raft_transfer_cb) = dlsym(RTLD_NEXT, "raft_transfer");
	struct lasting_transfer *l = next == NULL ? NULL : calloc(1, sizeof *l);
	if (l == NULL) {
		return RAFT_NOMEM;
	}
	req->cb = cb;
	l->caller = req;
	int rv = next(r, &l->transfer, id, lasting_transfer_cb);
	if (rv != 0) {
		free(l); // refused, and nothing was sent
	}
	return rv;
}

// raft_barrier tells of a refusal by the callback, as of a leadership that was lost.
//
// libraft refuses barriers while it transfers the leadership. A new leader needs one for the first statement. libdqlite does not forget a statement
// for which the barrier was refused, and fails it once more when it closes the session, when there is no request to answer any more
// (canonical/dqlite#416). It does bear that the callback comes before this returns: so does that of a barrier that is not needed.
int raft_barrier(struct raft *r, struct raft_barrier *req, raft_barrier_cb cb)
{
	int (*next)(struct raft *, struct raft_barrier *, raft_barrier_cb) = dlsym(RTLD_NEXT, "raft_barrier");
	int rv = next == NULL ? RAFT_NOMEM : next(r, req, cb);
	if (rv != 0) {
		cb(req, rv == RAFT_NOTLEADER ? RAFT_LEADERSHIPLOST : rv);
	}
	return 0;
}

// raft_set_heartbeat_timeout has a leader send four heartbeats, not ten, in the shortest time after which a follower takes it for dead.
//
// libdqlite makes both times of the network latency and has no call for this one alone. libraft looks at its timers as often as it sends
// heartbeats: with ten, they are most of what an idle node does.
void raft_set_heartbeat_timeout(struct raft *r, unsigned msecs)
{
	void (*next)(struct raft *, unsigned) = dlsym(RTLD_NEXT, "raft_set_heartbeat_timeout");
	if (next != NULL) {
		next(r, msecs * 10 / 4);
	}
}
