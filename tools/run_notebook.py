"""Run the notebook and store it with what it printed and drew, without films, pages and progress
bars.

    python -m tools.run_notebook

Those would be megabytes in the repository; whoever runs the notebook sees them.
"""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[1] / "animate-anyone.ipynb"
LIVE = {"text/html", "application/vnd.jupyter.widget-view+json"}  # players, pages, bars, widgets


def run(path: Path) -> None:
    """Execute all cells but those tagged `skip-execution`, in the notebook's own folder."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=None, resources={"metadata": {"path": path.parent}})
    client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it was run: nobody needs to know
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if is_light(output)]
    notebook.metadata.pop("widgets", None)
    nbformat.write(notebook, path)


def is_light(output: dict) -> bool:
    """Whether an output is kept: text that was printed, tables and still pictures."""
    if output.output_type == "stream":
        return output.name == "stdout"
    return not LIVE & set(output.data)


if __name__ == "__main__":
    run(NOTEBOOK)
