package fabric

import (
	"errors"
	"fmt"
)

// Code says what sort of failure an error is; the API maps it to an HTTP status in one place.
type Code string

// The codes of errors.
const (
	CodeInvalid      Code = "invalid"       // the request makes no sense; asking again does not help
	CodeForbidden    Code = "forbidden"     // the asker may not
	CodeNotFound     Code = "not-found"     // the thing named does not exist
	CodeConflict     Code = "conflict"      // something that exists stands in the way
	CodeStale        Code = "stale"         // the object changed since the asker read it
	CodeTooLarge     Code = "too-large"     // over a documented limit
	CodeNotSupported Code = "not-supported" // this program does not do that
	CodeUnavailable  Code = "unavailable"   // not now: no quorum, not in a cluster, a member is offline
	CodeInternal     Code = "internal"      // our fault
)

// Error is a failure as a user should see it: what went wrong with what, a stable slug for programs, and how to mend it.
type Error struct {
	Code    Code
	Reason  string // stable slug, e.g. "no-quorum"
	Message string // what was being done, to what, and why it failed
	Fix     string // what the user can do; empty where there is nothing
	Err     error  // cause, for errors.Is and As; already part of Message
}

// Error is the message, followed by the fix where there is one.
func (e *Error) Error() string {
	if e.Fix == "" {
		return e.Message
	}
	return e.Message + "; " + e.Fix
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// WithFix returns the error with what the user can do about it.
func (e *Error) WithFix(format string, args ...any) *Error {
	c := *e
	c.Fix = fmt.Sprintf(format, args...)
	return &c
}

// Errorf makes an error of any code. %w works as in fmt.Errorf.
func Errorf(code Code, reason, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Reason: reason, Message: err.Error(), Err: errors.Unwrap(err)}
}

// Invalidf makes an error of code CodeInvalid.
func Invalidf(reason, format string, args ...any) *Error {
	return Errorf(CodeInvalid, reason, format, args...)
}

// NotFoundf makes an error of code CodeNotFound.
func NotFoundf(format string, args ...any) *Error {
	return Errorf(CodeNotFound, "not-found", format, args...)
}

// Conflictf makes an error of code CodeConflict.
func Conflictf(reason, format string, args ...any) *Error {
	return Errorf(CodeConflict, reason, format, args...)
}

// CodeOf is the code of an error, CodeInternal where it has none, and empty for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// ReasonOf is the reason slug of an error, "internal" where it has none, and empty for nil.
func ReasonOf(err error) string {
	if err == nil {
		return ""
	}
	if e := (*Error)(nil); errors.As(err, &e) && e.Reason != "" {
		return e.Reason
	}
	return "internal"
}
