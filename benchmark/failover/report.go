package failover

import (
	"fmt"
	"slices"
	"time"
)

// Shard is what became of one shard when a host went.
type Shard struct {
	Shard int `json:"shard"`
	// Led says that the lost host led it. Only then the times from the event count: to the first news of another leader, and to
	// the first acknowledgement of a write made under one, 0 if there was none.
	Led        bool    `json:"led"`
	ElectedMS  float64 `json:"elected_ms,omitempty"`
	AcceptedMS float64 `json:"accepted_ms,omitempty"`
	// Terms is by how much the term rose; above 1 an election was won by nobody.
	Terms uint64 `json:"terms,omitempty"`
	// GapMS is the longest time between two acknowledgements that one surviving host's clients saw.
	GapMS float64 `json:"gap_ms"`
	// Failures counts their requests that were refused or ended as unknown.
	Failures    int    `json:"failures,omitempty"`
	LastFailure string `json:"last_failure,omitempty"`
}

// Event is one host's end.
type Event struct {
	Name   string  `json:"name"` // "close" or "kill"
	Host   int     `json:"host"`
	TookMS float64 `json:"took_ms"`
	// Unrecovered counts the shards that took no write again.
	Unrecovered int `json:"unrecovered"`
	// CalmGapMS is the longest gap of any shard, seen by the same hosts, in as long a time right before, when nothing happened.
	CalmGapMS float64 `json:"calm_gap_ms"`
	Shards    []Shard `json:"shards"`
}

const millisecond = float64(time.Millisecond)

// eventOf joins what the surviving hosts saw. Whether the lost host led a shard is what most recent term says.
func eventOf(name string, host int, o outage, seen [][]Watched, shards int) Event {
	e := Event{Name: name, Host: host + 1, TookMS: float64(o.ended-o.began) / millisecond}
	for i := range shards {
		s := Shard{Shard: i + 1}
		var term, newTerm uint64
		var elected, accepted int64
		for _, watched := range seen {
			w := watched[i]
			if w.Term >= term && w.Leader != 0 {
				term, s.Led = w.Term, w.Leader == uint64(host+1)
			}
			elected, accepted, newTerm = earliest(elected, w.Elected), earliest(accepted, w.Accepted), max(newTerm, w.NewTerm)
			s.GapMS = max(s.GapMS, float64(w.Gap)/millisecond)
			s.Failures += w.Failures
			if w.LastFailure != "" {
				s.LastFailure = w.LastFailure
			}
		}
		if s.Led {
			s.ElectedMS, s.AcceptedMS = since(o, elected), since(o, accepted)
			s.Terms = newTerm - min(newTerm, term)
			if accepted == 0 {
				e.Unrecovered++
			}
		}
		e.Shards = append(e.Shards, s)
	}
	return e
}

// earliest is the lesser of two instants of which 0 means never.
func earliest(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func since(o outage, at int64) float64 {
	if at == 0 {
		return 0
	}
	return float64(at-o.began) / millisecond
}

// accepted returns the outages of the shards that the host led and that came back, ascending.
func (e *Event) accepted() (all []float64) {
	for i := range e.Shards {
		if e.Shards[i].Led && e.Shards[i].AcceptedMS != 0 {
			all = append(all, e.Shards[i].AcceptedMS)
		}
	}
	slices.Sort(all)
	return all
}

func (e *Event) othersGap() (greatest float64) {
	for i := range e.Shards {
		if !e.Shards[i].Led {
			greatest = max(greatest, e.Shards[i].GapMS)
		}
	}
	return greatest
}

// String is a line for a reader.
func (e Event) String() string {
	all := e.accepted()
	if len(all) == 0 {
		return fmt.Sprintf("%-5s host %d: it led no shard that came back; %d did not", e.Name, e.Host, e.Unrecovered)
	}
	line := fmt.Sprintf("%-5s host %d: %d shards, median %.0f ms, max %.0f ms; other shards' longest gap %.0f ms (%.0f ms before); took %.0f ms",
		e.Name, e.Host, len(all), medianOf(all), all[len(all)-1], e.othersGap(), e.CalmGapMS, e.TookMS)
	if e.Unrecovered > 0 {
		line += fmt.Sprintf("; %d SHARDS TOOK NO WRITE AGAIN", e.Unrecovered)
	}
	return line
}

// medianOf takes ascending values; of an even number, the mean of the middle two.
func medianOf(sorted []float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// Figures are an event's over all repeats.
type Figures struct {
	Name        string  `json:"name"`
	Shards      int     `json:"shards"`
	MedianMS    float64 `json:"median_ms"`
	MaxMS       float64 `json:"max_ms"`
	OthersGapMS float64 `json:"others_gap_ms"`
	CalmGapMS   float64 `json:"calm_gap_ms"`
	Unrecovered int     `json:"unrecovered"`
	// FloorMedianMS and FloorMaxMS are what the timeouts alone allow for so many shards.
	FloorMedianMS float64 `json:"floor_median_ms"`
	FloorMaxMS    float64 `json:"floor_max_ms"`
}

// Report is what a run found. It is what --json writes.
type Report struct {
	Options      Options   `json:"options"`
	Events       []Event   `json:"events"`
	Figures      []Figures `json:"figures"`
	Requirements []Verdict `json:"requirements,omitempty"`
}

// conclude pools the events of each name.
func (r *Report) conclude() {
	f := floor{r.Options.ElectionTimeout, r.Options.Hosts - 1}
	for _, name := range []string{"close", "kill"} {
		figures := Figures{Name: name}
		var all []float64
		for i := range r.Events {
			if e := &r.Events[i]; e.Name == name {
				all = append(all, e.accepted()...)
				figures.OthersGapMS = max(figures.OthersGapMS, e.othersGap())
				figures.CalmGapMS = max(figures.CalmGapMS, e.CalmGapMS)
				figures.Unrecovered += e.Unrecovered
			}
		}
		slices.Sort(all)
		if figures.Shards = len(all); len(all) > 0 {
			figures.MedianMS, figures.MaxMS = medianOf(all), all[len(all)-1]
		}
		figures.FloorMedianMS = float64(f.median()) / millisecond
		figures.FloorMaxMS = float64(f.greatest(len(all))) / millisecond
		r.Figures = append(r.Figures, figures)
	}
}
