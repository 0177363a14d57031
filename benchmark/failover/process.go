package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// process is the parent's end of a host process.
type process struct {
	options HostOptions
	command *exec.Cmd
	input   io.Closer
	ask     *json.Encoder
	answers *json.Decoder
	loaded  bool // its clients run
}

// spawn starts a host process and waits until its shards run. program is how it is called, without the options. The process ends
// with ctx.
func spawn(ctx context.Context, program []string, options HostOptions) (*process, error) {
	text, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, program[0], append(program[1:len(program):len(program)], string(text))...)
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("failover: start a host: %w", err)
	}
	p := &process{options: options, command: command, input: input, ask: json.NewEncoder(input), answers: json.NewDecoder(output)}
	if _, err := p.hear(); err != nil {
		return nil, errors.Join(err, p.kill())
	}
	return p, nil
}

// call asks and waits for the answer.
func (p *process) call(r request) (reply, error) {
	if err := p.ask.Encode(r); err != nil {
		return reply{}, fmt.Errorf("failover: host %d does not listen: %w", p.options.Number+1, err)
	}
	return p.hear()
}

func (p *process) hear() (answer reply, err error) {
	if err := p.answers.Decode(&answer); err != nil {
		return answer, fmt.Errorf("failover: host %d does not answer: %w", p.options.Number+1, err)
	}
	if answer.Error != "" {
		err = fmt.Errorf("failover: host %d: %s", p.options.Number+1, answer.Error)
	}
	return answer, err
}

// close lets the host close, and returns when that began and ended.
func (p *process) close() (began, ended int64, err error) {
	first, err := p.call(request{Do: "close"})
	if err != nil {
		return 0, 0, errors.Join(err, p.kill())
	}
	second, err := p.hear()
	return first.At, second.At, errors.Join(err, p.wait())
}

// kill ends the process as the system would: SIGKILL.
func (p *process) kill() error {
	if err := p.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_ = p.command.Wait() // says that it was killed
	return ignoreClosed(p.input.Close())
}

func (p *process) wait() error {
	return errors.Join(p.command.Wait(), ignoreClosed(p.input.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
