package api

import (
	"context"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

// GetProjects lists the projects: there is one, "default".
func (c *Client) GetProjects(ctx context.Context) ([]incusapi.Project, error) {
	return list[incusapi.Project](ctx, c, "/1.0/projects")
}

// GetProject finds a project.
func (c *Client) GetProject(ctx context.Context, name string) (*incusapi.Project, string, error) {
	return one[incusapi.Project](ctx, c, "/1.0/projects/"+seg(name))
}

// defaultProject is the one project.
func defaultProject() incusapi.Project {
	return incusapi.Project{
		Name: "default", ProjectPut: incusapi.ProjectPut{Description: "The project that everything is in", Config: incusapi.ConfigMap{}}, UsedBy: []string{},
	}
}

func (s *Server) getProjects(r *request) (reply, error) {
	return r.list([]item{{"/1.0/projects/default", func() any { return defaultProject() }}})
}

func (s *Server) getProject(r *request) (reply, error) {
	if name := r.PathValue("name"); name != "default" {
		return reply{}, fabric.NotFoundf("project %q does not exist", name).WithFix("the one project is called default")
	}
	return reply{metadata: defaultProject()}, nil
}
