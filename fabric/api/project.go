package api

import (
	"context"

	incusapi "github.com/lxc/incus/v6/shared/api"
)

// GetProjects lists the projects: there is one, "default".
func (c *Client) GetProjects(ctx context.Context) ([]incusapi.Project, error) {
	return list[incusapi.Project](ctx, c, "/1.0/projects")
}

// GetProject finds a project.
func (c *Client) GetProject(ctx context.Context, name string) (*incusapi.Project, string, error) {
	return one[incusapi.Project](ctx, c, "/1.0/projects/"+seg(name))
}
