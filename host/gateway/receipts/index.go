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

// perDay is how many files a day may have.
const perDay = 100

// volume is a file of records: a day in UTC by its digits, and two digits that count the day's files. 2026030402 is the third
// one of the fourth of March 2026.
type volume uint32

// volumeOf is the first file of a day.
func volumeOf(t time.Time) volume {
	year, month, d := t.UTC().Date()
	return volume((year*10_000 + int(month)*100 + d) * perDay) //nolint:gosec // records are of the years that time can write
}

// day is the first file of the same day.
func (v volume) day() volume { return v - v%perDay }

// file is the name.
func (v volume) file() string {
	if v == v.day() {
		return fmt.Sprintf("receipts-%08d.log", v/perDay)
	}
	return fmt.Sprintf("receipts-%08d.%02d.log", v/perDay, v%perDay)
}

var volumeFile = regexp.MustCompile(`^receipts-(\d{8})(\.\d{2})?\.log$`)

func volumeOfFile(name string) (volume, bool) {
	m := volumeFile.FindStringSubmatch(name)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseUint(m[1]+(m[2] + ".00")[1:3], 10, 32)
	return volume(n), err == nil && volume(n).file() == name
}

// place is where a record stands.
type place struct {
	in   volume
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

// forget drops the records of a file.
func (x *index) forget(v volume) {
	for id, at := range x.byID {
		if at.in == v {
			delete(x.byID, id)
		}
	}
	for chat, id := range x.byChat {
		if _, ok := x.byID[id]; !ok {
			delete(x.byChat, chat)
		}
	}
}

// places are those of all records, oldest file first.
func (x *index) places() []place {
	out := make([]place, 0, len(x.byID))
	for _, at := range x.byID {
		out = append(out, at)
	}
	slices.SortFunc(out, func(a, b place) int { return cmp.Or(cmp.Compare(a.in, b.in), cmp.Compare(a.at, b.at)) })
	return out
}
