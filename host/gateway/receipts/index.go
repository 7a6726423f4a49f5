package receipts

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// day is a day in UTC by its digits: 20260304 is the fourth of March 2026.
type day uint32

func dayOf(t time.Time) day {
	year, month, d := t.UTC().Date()
	return day(year*10_000 + int(month)*100 + d) //nolint:gosec // records are of the years that time can write
}

// file is the name of the day's file.
func (d day) file() string { return fmt.Sprintf("receipts-%08d.log", d) }

var dayFile = regexp.MustCompile(`^receipts-(\d{8})\.log$`)

func dayOfFile(name string) (day, bool) {
	m := dayFile.FindStringSubmatch(name)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseUint(m[1], 10, 32)
	return day(n), err == nil
}

// place is where a record stands.
type place struct {
	day  day
	size uint32
	at   int64
}

// key stands for an id: a part of its SHA-256. An index of keys and places holds no pointers, so that the garbage collector
// has nothing to do with it, however many records there are, and nothing of a receipt stays in memory.
type key [16]byte

func keyOf(id string) key {
	const usual = 128 // bytes
	var memory [usual]byte
	sum := sha256.Sum256(append(memory[:0], id...))
	return key(sum[:])
}

// index says where the records of ids are.
type index struct {
	byID   map[key]place
	byChat map[key]key
}

func newIndex() index { return index{make(map[key]place), make(map[key]key)} }

func (x *index) add(r *Record, at place) {
	id := keyOf(r.ID)
	x.byID[id] = at
	if r.ChatID != "" {
		x.byChat[keyOf(r.ChatID)] = id
	}
}

// find takes a receipt id or a chat id.
func (x *index) find(id string) (place, bool) {
	k := keyOf(id)
	if other, ok := x.byChat[k]; ok {
		k = other
	}
	at, ok := x.byID[k]
	return at, ok
}

// forget drops the records of a day.
func (x *index) forget(d day) {
	for id, at := range x.byID {
		if at.day == d {
			delete(x.byID, id)
		}
	}
	for chat, id := range x.byChat {
		if _, ok := x.byID[id]; !ok {
			delete(x.byChat, chat)
		}
	}
}

// places are those of all records, oldest day first.
func (x *index) places() []place {
	out := make([]place, 0, len(x.byID))
	for _, at := range x.byID {
		out = append(out, at)
	}
	slices.SortFunc(out, func(a, b place) int { return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.at, b.at)) })
	return out
}
