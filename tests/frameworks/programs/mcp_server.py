"""The shop's reads as an MCP server."""

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations
from support import tools

server = MCPServer("shop")
READ = ToolAnnotations(read_only_hint=True)


@server.tool(annotations=READ)
def get_order(order_id: str) -> dict:
    return tools.get_order(order_id)


@server.tool(annotations=READ)
def get_customer(customer_id: str) -> dict:
    return tools.get_customer(customer_id)


@server.tool(annotations=READ)
def shipping_status(order_id: str) -> dict:
    return tools.shipping_status(order_id)


@server.tool(annotations=READ)
def search_docs(query: str) -> dict:
    return tools.search_docs(query)


server.run(transport="stdio")
