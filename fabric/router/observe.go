package router

import "time"

// Observer is told what the module does, to be counted. Its functions must not block; nil ones are not called.
type Observer struct {
	Applied   func(took time.Duration) // from when the member saw what a value follows from to the worker's word that the value is in force
	Restarted func()                   // another worker is there in place of the one before
}

// Observe has the module tell o from now on. It must be called before the first Reconcile.
func (m *Module) Observe(o Observer) { m.observer = o }

func (o Observer) applied(since time.Time) {
	if o.Applied != nil {
		o.Applied(time.Since(since))
	}
}

func (o Observer) restarted() {
	if o.Restarted != nil {
		o.Restarted()
	}
}
