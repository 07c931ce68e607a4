package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"reflect"
	"time"

	"netfabric/fabric"
)

// Limits of JSON bodies.
const (
	maxBody  = 1 << 20
	maxDepth = 64
)

// bodyTimeout is how long a caller may take to send a JSON body.
const bodyTimeout = 30 * time.Second

// body reads the JSON body of a request that is to be of the given type: no unknown or duplicate keys, nothing after it.
func (r *request) body(of any) ([]byte, error) {
	deadline := http.NewResponseController(r.w)
	if deadline.SetReadDeadline(time.Now().Add(bodyTimeout)) == nil {
		defer deadline.SetReadDeadline(time.Time{})
	}
	data, err := io.ReadAll(http.MaxBytesReader(r.w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, fabric.Errorf(fabric.CodeTooLarge, "body-too-large", "the body of %s %s is larger than %d bytes", r.Method, r.URL.Path, maxBody)
	}
	if err != nil {
		return nil, fabric.Invalidf("bad-json", "read the body of %s %s: %w", r.Method, r.URL.Path, err)
	}
	return data, checkJSON(data, reflect.TypeOf(of))
}

// decode reads the JSON body of a request into out, a pointer.
func (r *request) decode(out any) error {
	data, err := r.body(out)
	if err != nil {
		return err
	}
	return unmarshal(data, out)
}

// change is the body of a PUT or PATCH. A PATCH is laid over what there is, which is known only in the transaction.
type change struct {
	patch bool
	data  []byte
}

func (r *request) change(of any) (change, error) {
	data, err := r.body(of)
	return change{r.Method == http.MethodPatch, data}, err
}

// onto gives what the object's writable part is to become: out is a pointer to what it is.
func (c change) onto(out any) error {
	data := c.data
	if c.patch {
		var err error
		if data, err = mergeJSON(out, c.data); err != nil {
			return err
		}
	}
	reflect.ValueOf(out).Elem().SetZero()
	return unmarshal(data, out)
}

// mergeJSON lays the keys of patch over those of current. Maps such as config and devices are merged by key, everything below is replaced.
func mergeJSON(current any, patch []byte) ([]byte, error) {
	old, err := json.Marshal(current)
	if err != nil {
		return nil, err
	}
	merged, news := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if err := errors.Join(unmarshal(old, &merged), unmarshal(patch, &news)); err != nil {
		return nil, err
	}
	for k, v := range news {
		was, is := map[string]json.RawMessage{}, map[string]json.RawMessage{}
		if json.Unmarshal(merged[k], &was) == nil && json.Unmarshal(v, &is) == nil && was != nil {
			maps.Copy(was, is)
			if v, err = json.Marshal(was); err != nil {
				return nil, err
			}
		}
		merged[k] = v
	}
	return json.Marshal(merged)
}

func unmarshal(data []byte, out any) error {
	err := json.Unmarshal(data, out)
	if err == nil {
		return nil
	}
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return fabric.Invalidf("bad-json", "key %q: got a %s where a %s is wanted", wrong.Field, wrong.Value, kindName(wrong.Type))
	}
	return fabric.Invalidf("bad-json", "the body is not what is wanted: %w", err)
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "object"
	case reflect.Slice, reflect.Array:
		return "list"
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	}
	return "number"
}

// clean drops keys without a value: an empty value unsets a key.
func clean[M ~map[string]string](m M) fabric.Config {
	c := fabric.Config{}
	for k, v := range m {
		if v != "" {
			c[k] = v
		}
	}
	return c
}

// checker walks a JSON document along the type that it is for.
type checker struct {
	decoder *json.Decoder
	path    []byte
}

// checkJSON refuses documents with unknown or duplicate keys, with more than maxDepth levels, and with something after their end.
func checkJSON(data []byte, t reflect.Type) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return fabric.Invalidf("bad-json", "the body is empty: JSON is wanted")
	}
	c := checker{decoder: json.NewDecoder(bytes.NewReader(data))}
	c.decoder.UseNumber()
	if err := c.value(t, 1); err != nil {
		return err
	}
	if _, err := c.decoder.Token(); err != io.EOF {
		return fabric.Invalidf("bad-json", "there is something after the end of the JSON in the body")
	}
	return nil
}

func (c *checker) value(t reflect.Type, depth int) error {
	token, err := c.decoder.Token()
	if err != nil {
		return fabric.Invalidf("bad-json", "the body is not JSON: %w", err)
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return nil // types of scalars are checked when they are decoded
	}
	if depth > maxDepth {
		return fabric.Invalidf("too-deep", "the JSON in the body has more than %d levels", maxDepth)
	}
	if delim == '{' {
		err = c.object(t, depth)
	} else {
		err = c.list(t, depth)
	}
	if err != nil {
		return err
	}
	if _, err := c.decoder.Token(); err != nil {
		return fabric.Invalidf("bad-json", "the body is not JSON: %w", err)
	}
	return nil
}

func (c *checker) object(t reflect.Type, depth int) error {
	fields, element := shape(t)
	seen := map[string]bool{}
	for c.decoder.More() {
		token, err := c.decoder.Token()
		if err != nil {
			return fabric.Invalidf("bad-json", "the body is not JSON: %w", err)
		}
		key, _ := token.(string)
		length := len(c.path)
		if length > 0 {
			c.path = append(c.path, '.')
		}
		c.path = append(c.path, key...)
		if seen[key] {
			return fabric.Invalidf("duplicate-key", "key %q is there twice", c.path)
		}
		seen[key] = true
		of := element
		if fields != nil {
			field, known := fields[key]
			if !known {
				return fabric.Invalidf("unknown-key", "key %q is not known here", c.path)
			}
			of = field
		}
		if err := c.value(of, depth+1); err != nil {
			return err
		}
		c.path = c.path[:length]
	}
	return nil
}

func (c *checker) list(t reflect.Type, depth int) error {
	_, element := shape(t)
	for c.decoder.More() {
		if err := c.value(element, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// shape is what may be inside a type: the fields of a struct, or the elements of a map or list. Both are nil for types that read their own JSON.
func shape(t reflect.Type) (fields map[string]reflect.Type, element reflect.Type) {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == nil:
		return nil, nil
	case t.Kind() == reflect.Map || t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		return nil, t.Elem()
	case t.Kind() == reflect.Struct && !readsItself(t):
		fields = map[string]reflect.Type{}
		for _, f := range jsonFields(t) {
			fields[f.name] = f.Type
		}
		return fields, nil
	}
	return nil, nil
}
