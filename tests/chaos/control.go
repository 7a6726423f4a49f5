package chaos

// Retarget sends connections that come from now on elsewhere.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Refuse closes connections as soon as they come, or no longer.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// Behave sets how bytes pass in a direction from now on.
func (p *Proxy) Behave(dir Direction, m Manner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.manner[dir] = m
}

// Freeze stops directions: nothing is read any more and nothing closed, so that a sender runs into full buffers.
func (p *Proxy) Freeze(dirs ...Direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range dirs {
		select {
		case <-p.gate[d]:
			p.gate[d] = make(chan struct{})
		default: // it is frozen
		}
	}
}

// Thaw lets everything pass again, from where it stood.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, gate := range p.gate {
		select {
		case <-gate:
		default:
			close(gate)
		}
	}
}

// Break ends every connection that is there, by Cut or Reset.
func (p *Proxy) Break(how Action) {
	p.mu.Lock()
	conns := make([]*pair, 0, len(p.conns))
	for c := range p.conns {
		conns = append(conns, c)
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.end(how)
	}
}

// Passed is how many bytes have gone in a direction, over all connections.
func (p *Proxy) Passed(dir Direction) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed[dir]
}

// Served is how many connections came.
func (p *Proxy) Served() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.served
}

// Open is how many connections are there.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}
