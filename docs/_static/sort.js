// Makes the tables of a page sortable, once DataTables is there.
const sortTables = async () => {
  const { ITable } = await window.dataTables;
  for (const table of document.querySelectorAll("table.sortable")) {
    const isLong = table.tBodies[0].rows.length > 50;
    new ITable(table, {
      order: [],
      paging: isLong,
      pageLength: 25,
      searching: isLong,
      info: isLong,
      autoWidth: false,
    });
  }
};
document.addEventListener("DOMContentLoaded", sortTables);
