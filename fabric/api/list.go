package api

import (
	"encoding/json"
	"fmt"
)

// item is one entry of a list: its address, and its JSON made on demand.
type item struct {
	address string
	body    func() any // json.RawMessage is taken as it is
}

// list answers with the items that the request's filter lets through: their addresses, or with recursion the items.
func (r *request) list(items []item) (reply, error) { return r.listDeep(items, r.recursion()) }

// listDeep is list with a recursion of the handler's choice.
func (r *request) listDeep(items []item, recursion int) (reply, error) {
	match, err := parseFilter(r.query("filter"))
	if err != nil {
		return reply{}, err
	}
	addresses := []string{}
	bodies := []byte{'['}
	for _, it := range items {
		if recursion == 0 && match == nil {
			addresses = append(addresses, it.address)
			continue
		}
		body, ok := it.body().(json.RawMessage)
		if !ok {
			if body, err = json.Marshal(it.body()); err != nil {
				return reply{}, fmt.Errorf("encode %s: %w", it.address, err)
			}
		}
		if match != nil && !match.json(body) {
			continue
		}
		addresses = append(addresses, it.address)
		if len(bodies) > 1 {
			bodies = append(bodies, ',')
		}
		bodies = append(bodies, body...)
	}
	if recursion == 0 {
		return reply{metadata: addresses}, nil
	}
	return reply{metadata: json.RawMessage(append(bodies, ']'))}, nil
}

// items makes a list of things of one sort.
func items[T any](prefix string, all []T, name func(T) string, render func(T) any) []item {
	list := make([]item, 0, len(all))
	for _, v := range all {
		list = append(list, item{prefix + seg(name(v)), func() any { return render(v) }})
	}
	return list
}
