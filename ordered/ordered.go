// Package ordered is run by everybody and touches nothing: it has maps that keep
// the order of their names, in memory and in JSON. Structs of XML-RPC are such
// maps, as the protocol wants it: some of what a build does depends on the order
// that its manager gave (spec: protocol.md section 2).
package ordered

import (
	"maps"
	"slices"
)

// Member is one entry of a Map.
type Member[V any] struct {
	Name  string
	Value V
}

// Map has its members in their order. No name should be there twice; a Builder
// sees to that.
type Map[V any] []Member[V]

// Struct is a Map of anything that JSON or XML-RPC have; structs in it are
// Structs, too.
type Struct = Map[any]

// Lookup finds a member by its name. It looks at one after the other.
func (m Map[V]) Lookup(name string) (value V, there bool) {
	for _, member := range m {
		if member.Name == name {
			return member.Value, true
		}
	}
	return value, false
}

// Get is the value of a member, or V's zero value if there is none.
func (m Map[V]) Get(name string) V {
	value, _ := m.Lookup(name)
	return value
}

// Names are the names in their order.
func (m Map[V]) Names() []string {
	names := make([]string, len(m))
	for i, member := range m {
		names[i] = member.Name
	}
	return names
}

// Plain is a Go map of the members, without their order. Structs in it stay.
func (m Map[V]) Plain() map[string]V {
	plain := make(map[string]V, len(m))
	for _, member := range m {
		plain[member.Name] = member.Value
	}
	return plain
}

// Sorted makes a Map of a Go map, which has no order: by name.
func Sorted[V any](members map[string]V) Map[V] {
	m := make(Map[V], 0, len(members))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		m = append(m, Member[V]{name, members[name]})
	}
	return m
}

// AsStruct reads a value that may be a Struct, or a Go map in its place.
func AsStruct(value any) (Struct, bool) {
	switch v := value.(type) {
	case Struct:
		return v, true
	case map[string]any:
		return Sorted(v), true
	}
	return nil, false
}

// Builder makes a Map, in constant time for each member. The zero value is
// ready for use.
type Builder[V any] struct {
	members Map[V]
	places  map[string]int // of all members, once there are many
}

// few members are looked through one by one.
const few = 16

// Set adds a member, or gives one that is there already another value at its
// old place, as Python's dictionaries do.
func (b *Builder[V]) Set(name string, value V) {
	if i, there := b.find(name); there {
		b.members[i].Value = value
		return
	}
	b.members = append(b.members, Member[V]{name, value})
	if b.places != nil {
		b.places[name] = len(b.members) - 1
	}
}

// Get is the value of a member so far, or V's zero value if there is none.
func (b *Builder[V]) Get(name string) (value V) {
	if i, there := b.find(name); there {
		value = b.members[i].Value
	}
	return value
}

// SetAll sets all members of another map.
func (b *Builder[V]) SetAll(members Map[V]) {
	for _, m := range members {
		b.Set(m.Name, m.Value)
	}
}

func (b *Builder[V]) find(name string) (place int, there bool) {
	if len(b.members) < few {
		place = slices.IndexFunc(b.members, func(m Member[V]) bool { return m.Name == name })
		return place, place >= 0
	}
	if b.places == nil {
		b.places = make(map[string]int, 2*few)
		for i, m := range b.members {
			b.places[m.Name] = i
		}
	}
	place, there = b.places[name]
	return place, there
}

// Map is what was set, never nil. The Builder must not be used after it.
func (b *Builder[V]) Map() Map[V] {
	if b.members == nil {
		return Map[V]{}
	}
	return b.members
}
