#pragma once

#include "bliss/comm/communicator.hpp"
#include "bliss/h5/member.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace bliss::h5 {

/// A new HDF5 file that all ranks of a communicator write together, under the name PATH.partial until `commit`.
///
/// The bytes depend on the rows and attributes only, not on the number of ranks: no times, no fill values, space allotted
/// when a dataset is made, one file format version (1.10). Every rank calls every member in the same order.
///
/// Every member @throws H5Error or IoError naming the path and object, the same on all ranks: each ends with an agreement.
/// After a failure the file is closed and PATH.partial removed; nothing stands under PATH.
/// Cost: `write_rows` hands the rows to MPI-IO where they lie, without a copy.
class File {
public:
    /// @collective Over `comm`, which is duplicated.
    static File create(const std::filesystem::path& path, const comm::Communicator& comm);

    /// Makes an empty 1-D compound dataset of `rows` rows, with attributes `<member>.unit` and `<member>.about`.
    /// @collective All ranks give the same arguments.
    void create_rows(const std::string& dataset, std::span<const Member> members, std::int64_t rows);

    /// Writes this rank's rows: `rows` holds the ranges' rows one after the other, `ranges` ascend and do not overlap.
    /// A rank without rows gives none. @collective
    void write_rows(const std::string& dataset, std::span<const Member> members, std::span<const RowRange> ranges,
                    std::span<const std::byte> rows);

    /// Attributes of "/" or a dataset. @collective All ranks give the same arguments.
    void write_attribute(const std::string& object, const std::string& name, std::string_view value);
    void write_attribute(const std::string& object, const std::string& name, std::int64_t value);
    void write_attribute(const std::string& object, const std::string& name, double value);

    /// Closes the file, flushes it to the disk and gives it its name, replacing an older file. @collective
    void commit();

    File(File&&) noexcept;
    File& operator=(File&&) = delete;
    /// Without `commit`: removes the partial file. Closes it with the other ranks (@collective) unless an exception unwinds:
    /// then the others may be elsewhere, and waiting for them would hang.
    ~File();

private:
    struct Impl;
    enum class Failed;
    explicit File(std::unique_ptr<Impl> impl);

    /// Does `work` and agrees on its outcome; after a failure closes and removes the partial file on all ranks, then throws.
    template <class Work>
    void together(Work&& work);
    template <class Work>
    void together(Work&& work, Failed meaning);

    std::unique_ptr<Impl> impl_;
};

}  // namespace bliss::h5
