package sched

import "slices"

// grant is what a waiter gets.
type grant struct {
	lease *Lease
	err   error
}

// waiter is one request in a queue.
type waiter struct {
	request Request
	granted chan grant
}

// queue is the line for one model: first come first served for a client, clients in turn.
type queue struct {
	clients map[string][]*waiter
	turn    []string
	n       int
}

func newQueue() *queue { return &queue{clients: make(map[string][]*waiter)} }

// join stands in line; it reports false when the line is full for that many slots.
func (q *queue) join(r Request, slots int) (*waiter, bool) {
	if q.n >= min(queuePerSlot*max(slots, 1), maxQueue) {
		return nil, false
	}
	w := &waiter{request: r, granted: make(chan grant, 1)}
	if len(q.clients[r.Client]) == 0 {
		q.turn = append(q.turn, r.Client)
	}
	q.clients[r.Client] = append(q.clients[r.Client], w)
	q.n++
	return w, true
}

// leave takes somebody out of the line. The client's next request waits for the next round.
func (q *queue) leave(w *waiter) {
	client := w.request.Client
	line := q.clients[client]
	i := slices.Index(line, w)
	if i < 0 {
		return
	}
	line = slices.Delete(line, i, i+1)
	q.n--
	at := slices.Index(q.turn, client)
	q.turn = slices.Delete(q.turn, at, at+1)
	if len(line) == 0 {
		delete(q.clients, client)
		return
	}
	q.clients[client] = line
	if i == 0 {
		q.turn = append(q.turn, client)
	} else {
		q.turn = slices.Insert(q.turn, at, client)
	}
}
