package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/explain"

	"github.com/spf13/cobra"
)

func (a *app) routeExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain ADDRESS|PREFIX",
		Short: "Explain what is announced for an address, and what is in the way",
		Long: `Explain what the cluster announces for an address or prefix: the longest prefix of ours that covers it, and for each member the way from what was
asked for to what each BGP peer was told. The first thing in the way is named with its reason, and with what to do about it.

The marks are those of a plain terminal with --ascii, or where the locale is not UTF-8.`,
		Example: `  fabricctl route explain 203.0.113.53
  fabricctl route explain 2001:db8:53::/64
  fabricctl route explain 10.1.0.80 -f json`,
	}
	f := formatFlag(cmd, "table")
	ascii := cmd.Flags().Bool("ascii", false, "use no marks beyond ASCII")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := fabric.ParsePrefix(args[0]); err != nil {
			return usagef(cmd, "%v", err)
		}
		answer, err := a.client().ExplainRoute(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if *f != "table" {
			return show(a.out, *f, answer)
		}
		m := marks{"✓", "✗", "–", "→"}
		if *ascii || !strings.Contains(strings.ToUpper(cmp.Or(a.env("LC_ALL"), a.env("LC_CTYPE"), a.env("LANG"), "UTF-8")), "UTF") {
			m = marks{"+", "x", "-", "->"}
		}
		e := explainer{w: a.out, marks: m, now: time.Now()}
		e.answer(answer)
		return e.err
	}
	return cmd
}

func (a *app) routeReasons() *cobra.Command {
	cmd := &cobra.Command{
		Use: "reasons", Short: "List the reasons why a prefix may not be announced, and what to do", Example: "  fabricctl route reasons",
	}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := a.client().GetReasons(cmd.Context())
		if err != nil {
			return err
		}
		return list(a.out, *f, all, []column[fabric.ReasonText]{
			{"REASON", func(r fabric.ReasonText) string { return r.Slug }},
			{"AT", func(r fabric.ReasonText) string { return string(r.Stage) }},
			{"CAUSE", func(r fabric.ReasonText) string { return r.Cause }},
			{"WHAT TO DO", func(r fabric.ReasonText) string { return r.Fix }},
		})
	}
	return cmd
}

// marks are the signs in front of lines.
type marks struct{ yes, no, idle, fix string }

// explainer writes an answer for people.
type explainer struct {
	w     io.Writer
	marks marks
	now   time.Time
	err   error // the first of writing
}

func (e *explainer) line(depth int, format string, args ...any) {
	if e.err == nil {
		_, e.err = fmt.Fprintln(e.w, strings.TrimRight(strings.Repeat("  ", depth)+printable(fmt.Sprintf(format, args...)), " "))
	}
}

func (e *explainer) answer(a *explain.Answer) {
	for summary := range strings.SplitSeq(a.Summary, "\n") {
		e.line(0, "%s", summary)
	}
	for _, m := range a.Matches {
		for _, x := range m.Members {
			e.line(0, "")
			e.member(x)
		}
	}
	if b := a.Blocker; b != nil {
		e.line(0, "")
		e.line(0, "First in the way: %s", b.Reason)
		e.line(1, "%s", b.Cause)
		if b.Text != b.Cause {
			e.line(1, "here: %s", b.Text)
		}
		if b.Fix != "" {
			e.line(1, "%s %s", e.marks.fix, b.Fix)
		}
	}
	if len(a.Notes)+len(a.Covering)+len(a.Within) > 0 {
		e.line(0, "")
	}
	for _, n := range a.Notes {
		e.line(0, "Note: %s", n)
	}
	for _, o := range a.Covering {
		e.line(0, "Also covered by %s (%s)", o.Prefix, o.Owner)
	}
	for _, o := range a.Within {
		e.line(0, "Inside it: %s (%s)", o.Prefix, o.Owner)
	}
}

func (e *explainer) member(x explain.Member) {
	mark, verdict := e.marks.no, "announces it to nobody"
	switch x.State {
	case explain.Announced:
		mark, verdict = e.marks.yes, "announces it to "+strings.Join(x.Told, ", ")
	case explain.Partly:
		verdict = "announces it to " + strings.Join(x.Told, ", ") + " only"
	case explain.Idle:
		mark, verdict = e.marks.idle, "has nothing to do with it"
	case explain.Unknown:
		verdict = "is offline"
	}
	e.line(0, "%s %s %s", mark, x.Name, verdict)
	if x.State == explain.Idle {
		for _, s := range x.Steps {
			if !s.OK {
				e.line(1, "%s", s.Text)
			}
		}
		return
	}
	about := ""
	for _, s := range x.Steps {
		depth := 1
		if who := cmp.Or(s.Instance, s.Peer); who != "" {
			depth = 2
			if who != about {
				e.line(1, "%s %s", map[bool]string{true: "instance", false: "peer"}[s.Instance != ""], who)
			}
		}
		about = cmp.Or(s.Instance, s.Peer)
		e.step(depth, s)
	}
}

func (e *explainer) step(depth int, s explain.Step) {
	mark, text := e.marks.yes, s.Text
	if !s.OK {
		mark, text = e.marks.no, s.Reason+": "+s.Text
	}
	if s.Meant {
		mark = e.marks.idle
	}
	if !s.Since.IsZero() {
		text += fmt.Sprintf(" (for %s)", ago(e.now.Sub(s.Since)))
	}
	e.line(depth, "%s %-*s %s", mark, len("adj-rib-out")+2-2*(depth-1), s.Stage, text)
}
