// Command peers runs the harness of package benchmark on Flotilla, on other engines, and on the limit.
//
// It is a module of its own: what the other engines depend on is not in the module graph of Flotilla's users. make compare builds it into
// bin/ and runs it; package comparison holds the table of what is compared.
//
//	peers compare    row by row, in turns, with targets; writes JSON, Markdown and a page with charts
//	peers profile    takes profiles of a row and says where its time goes
//	peers page       puts the tables of a report into docs/performance.md
//	peers bench      the steady workload of the harness, as flotilla bench, with every engine
package main
