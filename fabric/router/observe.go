package router

import "time"

// Observer is told what the module does, to be counted. Its functions must not block; nil ones are not called.
type Observer struct {
	Applied   func(took time.Duration) // from the plan of a value that the worker did not have to its word that it is in force
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
